"""Indexes for lists in every order, and the positions of pages that do not fit their tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("created_at", "status"):
        op.create_index(f"ix_images_folder_id_{column}_id", "images", ["folder_id", column, "id"])
    op.create_table(
        "page_positions",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("position", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_page_positions"),
    )
    op.create_index("ix_page_positions_expires_at", "page_positions", ["expires_at"])
