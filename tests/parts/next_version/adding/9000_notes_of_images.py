"""A revision that adds: a column with a default, and a table."""

import sqlalchemy as sa
from alembic import op

from parts.next_version import find_head

revision = "9000"
down_revision = find_head()
branch_labels = None
depends_on = None
serves_since = down_revision


def upgrade() -> None:
    op.add_column("images", sa.Column("note", sa.Text, nullable=False, server_default=""))
    op.create_table("notes", sa.Column("id", sa.Text, primary_key=True))
