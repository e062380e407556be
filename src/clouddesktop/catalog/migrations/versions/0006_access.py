"""Roles bound on resources, and what folders are told by. The first account keeps its power."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_bindings",
        sa.Column("resource_type", sa.Text, nullable=False),
        sa.Column("resource_id", sa.String(50), nullable=False),
        sa.Column("role_id", sa.Text, nullable=False),
        sa.Column("subject_id", sa.String(100), nullable=False),
        sa.Column("subject_type", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint(
            "resource_type",
            "resource_id",
            "role_id",
            "subject_id",
            "subject_type",
            name="pk_access_bindings",
        ),
    )
    op.create_index("ix_access_bindings_subject_id", "access_bindings", ["subject_id"])
    op.add_column("folders", sa.Column("description", sa.Text, nullable=False, server_default=""))
    op.add_column("folders", sa.Column("labels", sa.JSON, nullable=False, server_default="{}"))
    op.execute(
        "INSERT INTO access_bindings "
        "SELECT 'resource-manager.cloud', folders.cloud_id, 'admin', service_accounts.id, "
        "'serviceAccount', service_accounts.created_at "
        "FROM service_accounts JOIN folders ON folders.id = service_accounts.folder_id"
    )
    op.create_index(
        "ix_operations_resource_id_created_at", "operations", ["resource_id", "created_at"]
    )
