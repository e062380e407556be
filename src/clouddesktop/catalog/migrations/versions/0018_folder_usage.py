"""What the images of each folder come to, kept by the database itself whoever changes images."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
serves_since = "0015"

_COUNTED = (
    "INSERT INTO folder_usage (folder_id, image_count, storage_size)"
    " SELECT folder_id, count(*), sum(storage_size) FROM images GROUP BY folder_id"
)

# One statement may change a million rows, so PostgreSQL adds up each statement's first.
_POSTGRESQL = (
    """
    CREATE FUNCTION count_folder_usage() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO folder_usage AS known (folder_id, image_count, storage_size)
                SELECT folder_id, count(*), sum(storage_size) FROM added GROUP BY folder_id
                ON CONFLICT (folder_id) DO UPDATE SET
                    image_count = known.image_count + excluded.image_count,
                    storage_size = known.storage_size + excluded.storage_size;
        ELSIF TG_OP = 'DELETE' THEN
            UPDATE folder_usage AS known SET
                image_count = known.image_count - less.image_count,
                storage_size = known.storage_size - less.storage_size
                FROM (SELECT folder_id, count(*) AS image_count, sum(storage_size) AS storage_size
                    FROM removed GROUP BY folder_id) AS less
                WHERE known.folder_id = less.folder_id;
        ELSE
            UPDATE folder_usage AS known SET storage_size = known.storage_size + more.storage_size
                FROM (SELECT folder_id, sum(added.storage_size - removed.storage_size)
                        AS storage_size
                    FROM added JOIN removed USING (id, folder_id) GROUP BY folder_id) AS more
                WHERE known.folder_id = more.folder_id AND more.storage_size <> 0;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER images_added AFTER INSERT ON images REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION count_folder_usage()
    """,
    """
    CREATE TRIGGER images_removed AFTER DELETE ON images REFERENCING OLD TABLE AS removed
        FOR EACH STATEMENT EXECUTE FUNCTION count_folder_usage()
    """,
    """
    CREATE TRIGGER images_changed AFTER UPDATE ON images
        REFERENCING OLD TABLE AS removed NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION count_folder_usage()
    """,
)

_SQLITE = (
    """
    CREATE TRIGGER images_added AFTER INSERT ON images BEGIN
        INSERT INTO folder_usage (folder_id, image_count, storage_size)
            VALUES (new.folder_id, 1, new.storage_size)
            ON CONFLICT (folder_id) DO UPDATE SET
                image_count = image_count + 1, storage_size = storage_size + excluded.storage_size;
    END
    """,
    """
    CREATE TRIGGER images_removed AFTER DELETE ON images BEGIN
        UPDATE folder_usage SET
            image_count = image_count - 1, storage_size = storage_size - old.storage_size
            WHERE folder_id = old.folder_id;
    END
    """,
    """
    CREATE TRIGGER images_changed AFTER UPDATE OF storage_size ON images BEGIN
        UPDATE folder_usage SET storage_size = storage_size + new.storage_size - old.storage_size
            WHERE folder_id = new.folder_id;
    END
    """,
)


def upgrade() -> None:
    connection = op.get_bind()
    is_postgresql = connection.dialect.name == "postgresql"
    folder_id = sa.String(50).with_variant(sa.String(50, collation="C"), "postgresql")
    op.create_table(
        "folder_usage",
        sa.Column("folder_id", folder_id, nullable=False),
        sa.Column("image_count", sa.BigInteger, nullable=False),
        sa.Column("storage_size", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("folder_id", name="pk_folder_usage"),
        # A row changes with each image: its next version finds room on the same page.
        postgresql_with={"fillfactor": 20},
    )
    for statement in _POSTGRESQL if is_postgresql else _SQLITE:
        op.execute(statement)
    op.execute(_COUNTED)
    op.drop_index("ix_images_folder_id_storage_size", "images")
