"""The folder of system images, in a cloud of its own; both have empty ids, and nobody sees them."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "INSERT INTO clouds (id, name, created_at) VALUES ('', '', '2026-01-01 00:00:00.000000')"
    )
    op.execute(
        "INSERT INTO folders (id, cloud_id, name, description, labels, created_at) "
        "VALUES ('', '', '', '', '{}', '2026-01-01 00:00:00.000000')"
    )
