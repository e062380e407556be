"""Operations whose end is to be written to the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "awaited_ends",
        sa.Column("operation_id", sa.String(50), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name="fk_awaited_ends_operation_id"
        ),
        sa.PrimaryKeyConstraint("operation_id", name="pk_awaited_ends"),
    )
    op.execute("INSERT INTO awaited_ends SELECT id FROM operations WHERE NOT done")
