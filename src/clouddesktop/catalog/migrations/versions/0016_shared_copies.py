"""Copies that several workers share, the ranges that each of these has claimed, and priorities."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    operation_id = sa.String(50).with_variant(sa.String(50, collation="C"), "postgresql")
    op.create_table(
        "shared_copies",
        sa.Column("operation_id", operation_id, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("range_count", sa.Integer, nullable=False),
        sa.Column("ranges", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("operation_id", name="pk_shared_copies"),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name="fk_shared_copies_operation_id"
        ),
    )
    op.create_table(
        "range_claims",
        sa.Column("operation_id", operation_id, nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("worker", text, nullable=False),
        sa.PrimaryKeyConstraint("operation_id", "index", name="pk_range_claims"),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name="fk_range_claims_operation_id"
        ),
    )
    op.add_column(
        "operations", sa.Column("priority", sa.SmallInteger, nullable=False, server_default="2")
    )
