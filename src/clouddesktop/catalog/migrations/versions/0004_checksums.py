"""Checksums that copies verify, and that contents were found to have."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("checksum", sa.Text(), nullable=True))
    op.add_column("known_contents", sa.Column("checksum", sa.Text(), nullable=True))
