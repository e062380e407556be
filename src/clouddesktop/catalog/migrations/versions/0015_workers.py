"""Workers that share a database, and runs of the keeper that any of them may be told to stop."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "workers",
        sa.Column("id", text, nullable=False),
        sa.Column("host", text, nullable=False),
        sa.Column("started_at", sa.DateTime, nullable=False),
        sa.Column("renewed_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.add_column(
        "keeper_runs",
        sa.Column("stop_asked", sa.Boolean, nullable=False, server_default=sa.false()),
    )
