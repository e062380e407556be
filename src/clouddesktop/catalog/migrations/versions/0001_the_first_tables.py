"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_installation")),
    )
    op.create_table(
        "clouds",
        sa.Column("id", sa.String(length=50), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clouds")),
    )
    op.create_table(
        "manifests",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("disk_size", sa.BigInteger(), nullable=False),
        sa.Column("storage_size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_manifests")),
    )
    op.create_table(
        "operations",
        sa.Column("id", sa.String(length=50), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("image_id", sa.String(length=50), nullable=False),
        sa.Column("failure", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("result", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("compute_image_id", sa.Text(), nullable=False),
        sa.Column("compute_image_folder_id", sa.String(length=50), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("settled", sa.Boolean(), nullable=True),
        sa.Column("disk_size", sa.BigInteger(), nullable=True),
        sa.Column("workflow_id", sa.Text(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), nullable=False),
        sa.Column("bytes_done", sa.BigInteger(), nullable=False),
        sa.Column("bytes_new", sa.BigInteger(), nullable=False),
        sa.Column("bytes_stored", sa.BigInteger(), nullable=False),
        sa.Column("bytes_deduplicated", sa.BigInteger(), nullable=False),
        sa.Column("bytes_zero", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
    )
    op.create_table(
        "packs",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.String(length=50), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_packs")),
        sa.UniqueConstraint("id", name=op.f("uq_packs_id")),
    )
    with op.batch_alter_table("packs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_packs_operation_id"), ["operation_id"], unique=False)

    op.create_table(
        "chunks",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("pack", sa.Integer(), nullable=False),
        sa.Column("codec", sa.SmallInteger(), nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("stored_size", sa.Integer(), nullable=False),
        sa.Column("plain_size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["pack"], ["packs.number"], name=op.f("fk_chunks_pack")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_chunks")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("chunks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_chunks_pack"), ["pack"], unique=False)

    op.create_table(
        "copy_ranges",
        sa.Column("operation_id", sa.String(length=50), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("chunks", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name=op.f("fk_copy_ranges_operation_id")
        ),
        sa.PrimaryKeyConstraint("operation_id", "index", name=op.f("pk_copy_ranges")),
    )
    op.create_table(
        "folders",
        sa.Column("id", sa.String(length=50), nullable=False),
        sa.Column("cloud_id", sa.String(length=50), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["cloud_id"], ["clouds.id"], name=op.f("fk_folders_cloud_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_folders")),
        sa.UniqueConstraint("cloud_id", "name", name=op.f("uq_folders_cloud_id_name")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("key", sa.String(length=36), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("operation_id", sa.String(length=50), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name=op.f("fk_idempotency_keys_operation_id")
        ),
        sa.PrimaryKeyConstraint("subject", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "known_contents",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["manifest"], ["manifests.digest"], name=op.f("fk_known_contents_manifest")
        ),
        sa.PrimaryKeyConstraint("source", "location", name=op.f("pk_known_contents")),
    )
    op.create_table(
        "manifest_packs",
        sa.Column("manifest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("pack", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["manifest"], ["manifests.digest"], name=op.f("fk_manifest_packs_manifest")
        ),
        sa.ForeignKeyConstraint(["pack"], ["packs.number"], name=op.f("fk_manifest_packs_pack")),
        sa.PrimaryKeyConstraint("manifest", "pack", name=op.f("pk_manifest_packs")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("manifest_packs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_manifest_packs_pack"), ["pack"], unique=False)

    op.create_table(
        "operation_packs",
        sa.Column("operation_id", sa.String(length=50), nullable=False),
        sa.Column("pack", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name=op.f("fk_operation_packs_operation_id")
        ),
        sa.ForeignKeyConstraint(["pack"], ["packs.number"], name=op.f("fk_operation_packs_pack")),
        sa.PrimaryKeyConstraint("operation_id", "pack", name=op.f("pk_operation_packs")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("operation_packs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_operation_packs_pack"), ["pack"], unique=False)

    op.create_table(
        "images",
        sa.Column("id", sa.String(length=50), nullable=False),
        sa.Column("folder_id", sa.String(length=50), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("storage_size", sa.BigInteger(), nullable=False),
        sa.Column("min_disk_size", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(length=32), nullable=True),
        sa.ForeignKeyConstraint(["folder_id"], ["folders.id"], name=op.f("fk_images_folder_id")),
        sa.ForeignKeyConstraint(
            ["manifest"], ["manifests.digest"], name=op.f("fk_images_manifest")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("folder_id", "name", name=op.f("uq_images_folder_id_name")),
    )
    with op.batch_alter_table("images", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_images_folder_id_id"), ["folder_id", "id"], unique=False
        )

    op.create_table(
        "service_accounts",
        sa.Column("id", sa.String(length=50), nullable=False),
        sa.Column("folder_id", sa.String(length=50), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["folder_id"], ["folders.id"], name=op.f("fk_service_accounts_folder_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_accounts")),
    )
    op.create_table(
        "authorized_keys",
        sa.Column("id", sa.String(length=50), nullable=False),
        sa.Column("service_account_id", sa.String(length=50), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["service_account_id"],
            ["service_accounts.id"],
            name=op.f("fk_authorized_keys_service_account_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authorized_keys")),
    )
