"""Operations on resources of any kind, each with the folder that it belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("operations", "image_id", new_column_name="resource_id")
    op.add_column(
        "operations", sa.Column("folder_id", sa.String(50), nullable=False, server_default="")
    )
    op.execute(
        "UPDATE operations SET folder_id = "
        "coalesce((SELECT folder_id FROM images WHERE images.id = operations.resource_id), '')"
    )
