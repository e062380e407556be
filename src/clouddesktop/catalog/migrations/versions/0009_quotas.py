"""Quotas: the limits that are set, and indexes by which usage is counted."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quota_limits",
        sa.Column("cloud_id", sa.String(50), nullable=False),
        sa.Column("quota_id", sa.Text, nullable=False),
        sa.Column("limit", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["cloud_id"], ["clouds.id"], name="fk_quota_limits_cloud_id"),
        sa.PrimaryKeyConstraint("cloud_id", "quota_id", name="pk_quota_limits"),
    )
    op.create_index("ix_images_folder_id_storage_size", "images", ["folder_id", "storage_size"])
    op.create_index("ix_operations_done_modified_at", "operations", ["done", "modified_at"])
