"""Idempotency keys are found by their operation, and foreign keys checked, without reading all."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_idempotency_keys_operation_id", "idempotency_keys", ["operation_id"])
