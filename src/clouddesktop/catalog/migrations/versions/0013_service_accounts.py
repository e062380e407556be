"""What service accounts and their keys are told by."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("service_accounts", "authorized_keys"):
        op.add_column(table, sa.Column("description", sa.Text, nullable=False, server_default=""))
    op.add_column(
        "service_accounts", sa.Column("labels", sa.JSON, nullable=False, server_default="{}")
    )
    op.create_index("ix_service_accounts_folder_id_name", "service_accounts", ["folder_id", "name"])
    op.create_index(
        "ix_authorized_keys_service_account_id", "authorized_keys", ["service_account_id"]
    )
