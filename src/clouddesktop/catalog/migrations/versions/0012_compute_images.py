"""Compute images that were imported."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "compute_images",
        sa.Column("id", sa.String(50), nullable=False),
        sa.Column("folder_id", sa.String(50), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("family", sa.Text, nullable=False),
        sa.Column("os_type", sa.SmallInteger, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("storage_size", sa.BigInteger, nullable=False),
        sa.Column("min_disk_size", sa.BigInteger, nullable=False),
        sa.Column("manifest", sa.LargeBinary(32), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_compute_images"),
        sa.ForeignKeyConstraint(["folder_id"], ["folders.id"], name="fk_compute_images_folder_id"),
        sa.ForeignKeyConstraint(
            ["manifest"], ["manifests.digest"], name="fk_compute_images_manifest"
        ),
    )
    op.create_index("ix_compute_images_folder_id_name", "compute_images", ["folder_id", "name"])
    op.create_index(
        "ix_compute_images_folder_id_family_created_at",
        "compute_images",
        ["folder_id", "family", "created_at"],
    )
    op.create_index("ix_compute_images_manifest", "compute_images", ["manifest"])
