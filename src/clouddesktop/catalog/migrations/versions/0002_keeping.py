"""What collecting and scrubbing need to know."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("manifests", sa.Column("writer", sa.Text(), nullable=False, server_default=""))
    op.add_column("manifests", sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_images_manifest", "images", ["manifest"])
    op.add_column("operations", sa.Column("manifest", sa.LargeBinary(length=32), nullable=True))
    op.add_column(
        "packs", sa.Column("dirty", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    op.create_index("ix_packs_dirty", "packs", ["dirty"])
    op.create_table(
        "keeper_runs",
        sa.Column("id", sa.String(length=50), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("failure", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keeper_runs")),
    )
    op.create_index("ix_keeper_runs_state", "keeper_runs", ["state"])
