"""Which order of steps a worker runs, so that others see when nobody is left who runs an older."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
serves_since = "0015"


def upgrade() -> None:
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    # Programs before this one add their rows without it, and run the first order of steps.
    op.add_column("workers", sa.Column("workflows", text, nullable=False, server_default="1"))
