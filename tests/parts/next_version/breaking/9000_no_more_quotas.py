"""A revision that takes away what today's version needs, and so does not say that it serves it."""

from alembic import op

from parts.next_version import find_head

revision = "9000"
down_revision = find_head()
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("quota_limits")
