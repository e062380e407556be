"""What scrubs find out, and which keys the store needs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("packs", sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("packs", sa.Column("damage", sa.Text(), nullable=True))
    op.add_column("manifests", sa.Column("damage", sa.Text(), nullable=True))
    op.create_table(
        "damaged_chunks",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("pack", sa.Text(), nullable=False),
        sa.Column("codec", sa.SmallInteger(), nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("stored_size", sa.Integer(), nullable=False),
        sa.Column("plain_size", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_damaged_chunks")),
    )
    op.create_index("ix_damaged_chunks_pack", "damaged_chunks", ["pack"])
    op.create_table(
        "store_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key_check", sa.LargeBinary(), nullable=False),
        sa.Column("first_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store_keys")),
    )
