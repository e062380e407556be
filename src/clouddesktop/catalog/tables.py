"""Every table of the catalogue. Times are UTC, sizes are bytes, digests are 32 bytes of BLAKE3.

clouds <- folders <- images -> manifests -> (manifest_packs) -> packs <- chunks
                        ^                                        ^
                    operations -> copy_ranges, (operation_packs) +

compute_images stand beside images. access_bindings name subjects and resources of several kinds,
without foreign keys. shared_copies and range_claims are part of a running copy as copy_ranges are.
workers and keeper_runs stand apart: they work on all of it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware instant, kept as UTC without its zone: SQLite would drop it."""

    impl = sa.DateTime()
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002  (SQLAlchemy's signature)
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002  (SQLAlchemy's signature)
        return None if value is None else value.replace(tzinfo=UTC)


def _id(name: str = "id", *args: sa.ForeignKey, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(50), *args, primary_key=primary_key, nullable=False)


def _ordered(text: sa.String) -> sa.String:
    """Compare a text's characters by their numbers on every engine, as SQLite does by itself."""
    collated = type(text)(length=text.length, collation="C")
    return text.with_variant(collated, "postgresql")


installation = sa.Table(  # facts about the installation as a whole
    "installation",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

clouds = sa.Table(
    "clouds",
    metadata,
    _id(primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)

folders = sa.Table(
    "folders",
    metadata,
    _id(primary_key=True),
    _id("cloud_id", sa.ForeignKey("clouds.id")),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    sa.Column("labels", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("cloud_id", "name"),
)

quota_limits = sa.Table(  # a quota without a row here has no limit
    "quota_limits",
    metadata,
    _id("cloud_id", sa.ForeignKey("clouds.id"), primary_key=True),
    sa.Column("quota_id", sa.Text, primary_key=True),  # QuotaId
    sa.Column("limit", sa.BigInteger, nullable=False),
)

service_accounts = sa.Table(
    "service_accounts",
    metadata,
    _id(primary_key=True),
    _id("folder_id", sa.ForeignKey("folders.id")),
    sa.Column("name", sa.Text, nullable=False),  # one of a kind in the folder
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    sa.Column("labels", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "folder_id", "name"),
)

authorized_keys = sa.Table(
    "authorized_keys",
    metadata,
    _id(primary_key=True),
    _id("service_account_id", sa.ForeignKey("service_accounts.id")),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("public_key", sa.Text, nullable=False),  # PEM
    sa.Column("description", sa.Text, nullable=False, server_default=""),
    sa.Index(None, "service_account_id"),
)

access_bindings = sa.Table(  # roles that subjects have on resources
    "access_bindings",
    metadata,
    sa.Column("resource_type", sa.Text, primary_key=True),  # ResourceKind
    _id("resource_id", primary_key=True),
    sa.Column("role_id", sa.Text, primary_key=True),
    sa.Column("subject_id", sa.String(100), primary_key=True),
    sa.Column("subject_type", sa.Text, primary_key=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "subject_id"),
)

manifests = sa.Table(  # sealed contents; a manifest's blob is in the store under its digest
    "manifests",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("disk_size", sa.BigInteger, nullable=False),
    sa.Column("storage_size", sa.BigInteger, nullable=False),  # its chunks, each counted once
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("writer", sa.Text, nullable=False, server_default=""),  # part of its blob's name
    sa.Column("verified_at", UtcDateTime),  # when a scrub last found all of it right
    sa.Column("damage", sa.Text),  # what it lacks, or may lack; none: nothing
)

images = sa.Table(
    "images",
    metadata,
    sa.Column("id", _ordered(sa.String(50)), primary_key=True, nullable=False),
    _id("folder_id", sa.ForeignKey("folders.id")),
    sa.Column("name", _ordered(sa.Text()), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("status", sa.SmallInteger, nullable=False),  # ImageStatus
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("storage_size", sa.BigInteger, nullable=False),
    sa.Column("min_disk_size", sa.BigInteger, nullable=False),
    sa.Column("manifest", sa.LargeBinary(32), sa.ForeignKey("manifests.digest")),
    sa.UniqueConstraint("folder_id", "name"),  # lists by name use it, too
    sa.Index(None, "folder_id", "id"),
    sa.Index(None, "folder_id", "created_at", "id"),
    sa.Index(None, "folder_id", "status", "id"),
    sa.Index(None, "manifest"),
)

folder_usage = sa.Table(  # what a folder's images come to: kept by triggers of the database
    "folder_usage",
    metadata,
    _id("folder_id", primary_key=True),  # it may be gone: then its row counts nothing
    sa.Column("image_count", sa.BigInteger, nullable=False),
    sa.Column("storage_size", sa.BigInteger, nullable=False),
    postgresql_with={"fillfactor": 20},
)

page_positions = sa.Table(  # where pages ended, if that is too long for their tokens
    "page_positions",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("position", sa.LargeBinary, nullable=False),  # Position.to_bytes()
    sa.Column("expires_at", UtcDateTime, nullable=False, index=True),
)

compute_images = sa.Table(  # those that were imported; others lie in sources
    "compute_images",
    metadata,
    _id(primary_key=True),
    _id("folder_id", sa.ForeignKey("folders.id")),
    sa.Column("name", sa.Text, nullable=False),  # one of a kind in the folder, or empty
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("family", sa.Text, nullable=False),  # empty: of none
    sa.Column("os_type", sa.SmallInteger, nullable=False),  # the API's Os.Type
    sa.Column("status", sa.SmallInteger, nullable=False),  # ComputeImageStatus
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("storage_size", sa.BigInteger, nullable=False),
    sa.Column("min_disk_size", sa.BigInteger, nullable=False),
    sa.Column("manifest", sa.LargeBinary(32), sa.ForeignKey("manifests.digest")),
    sa.Index(None, "folder_id", "name"),
    sa.Index(None, "folder_id", "family", "created_at"),
    sa.Index(None, "manifest"),
)

operations = sa.Table(
    "operations",
    metadata,
    _id(primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # OperationKind
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),  # the subject's id
    sa.Column("modified_at", UtcDateTime, nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),
    _id("resource_id"),  # no foreign key: an operation outlives what it works on
    sa.Column("folder_id", sa.String(50), nullable=False, server_default=""),  # empty: in none
    sa.Column("failure", sa.JSON(none_as_null=True)),  # Failure.to_record()
    sa.Column("result", sa.JSON(none_as_null=True)),  # the resource as the operation left it
    sa.Column("source", sa.Text, nullable=False),  # where the compute image lies
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("compute_image_id", sa.Text, nullable=False),
    _id("compute_image_folder_id"),
    sa.Column("fingerprint", sa.Text),  # of the source's file, once the plan is made
    sa.Column("settled", sa.Boolean),  # whether that fingerprint may stand for the content later
    sa.Column("disk_size", sa.BigInteger),
    sa.Column("manifest", sa.LargeBinary(32)),  # what a copy has sealed; its own until it is done
    sa.Column("checksum", sa.Text),  # Checksum.to_text() of the file, which is to be verified
    sa.Column("workflow_id", sa.Text),  # the workflow that runs it; none if it needed none
    sa.Column("priority", sa.SmallInteger, nullable=False, server_default="2"),  # Priority
    sa.Column("epoch", sa.Integer, nullable=False),  # raised by each run; fences the run before it
    sa.Column("attempts", sa.Integer, nullable=False),  # runs since a range was last recorded
    sa.Column("phase", sa.Text, nullable=False),  # Phase; the rest are the figures of Progress
    sa.Column("bytes_total", sa.BigInteger, nullable=False),
    sa.Column("bytes_done", sa.BigInteger, nullable=False),
    sa.Column("bytes_new", sa.BigInteger, nullable=False),
    sa.Column("bytes_stored", sa.BigInteger, nullable=False),
    sa.Column("bytes_deduplicated", sa.BigInteger, nullable=False),
    sa.Column("bytes_zero", sa.BigInteger, nullable=False),
    sa.Index(None, "resource_id", "created_at"),
    sa.Index(None, "done", "modified_at"),
)

awaited_ends = sa.Table(  # operations whose end is still to be written to the audit log
    "awaited_ends",
    metadata,
    _id("operation_id", sa.ForeignKey("operations.id"), primary_key=True),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("key", sa.String(36), primary_key=True),
    sa.Column("request_digest", sa.LargeBinary, nullable=False),
    _id("operation_id", sa.ForeignKey("operations.id")),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "operation_id"),
)

packs = sa.Table(
    "packs",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),  # short, for the many rows that refer to it
    sa.Column("id", sa.Text, nullable=False, unique=True),  # PackId
    _id("operation_id"),  # the copy, or the run of the keeper, that wrote it
    sa.Column("size", sa.BigInteger, nullable=False),
    # Whether chunks in it may be dead: at birth, and after a content that lists it is gone.
    sa.Column("dirty", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("verified_at", UtcDateTime),  # when a scrub last found all of it right
    sa.Column("damage", sa.Text),  # what a scrub found wrong with it; none: nothing
    sa.Index(None, "operation_id"),
    sa.Index(None, "dirty"),
)

chunks = sa.Table(  # the chunk index; can be rebuilt from the packs' tables of contents
    "chunks",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("pack", sa.Integer, sa.ForeignKey("packs.number"), nullable=False, index=True),
    sa.Column("codec", sa.SmallInteger, nullable=False),
    sa.Column("offset", sa.Integer, nullable=False),  # in the pack
    sa.Column("stored_size", sa.Integer, nullable=False),
    sa.Column("plain_size", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

damaged_chunks = sa.Table(  # chunks that the index had and a scrub found damaged: quarantined
    "damaged_chunks",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("pack", sa.Text, nullable=False, index=True),  # PackId; the rest as in the index
    sa.Column("codec", sa.SmallInteger, nullable=False),
    sa.Column("offset", sa.Integer, nullable=False),
    sa.Column("stored_size", sa.Integer, nullable=False),
    sa.Column("plain_size", sa.Integer, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("found_at", UtcDateTime, nullable=False),
)

store_keys = sa.Table(  # keys that bytes in the store may be encrypted by
    "store_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("key_check", sa.LargeBinary, nullable=False),  # tells keys of one id apart
    sa.Column("first_used_at", UtcDateTime, nullable=False),
)

copy_ranges = (
    sa.Table(  # what a running copy has recorded; gone once it is published or rolled back
        "copy_ranges",
        metadata,
        _id("operation_id", sa.ForeignKey("operations.id"), primary_key=True),
        sa.Column("index", sa.Integer, primary_key=True),
        sa.Column(
            "chunks", sa.LargeBinary, nullable=False
        ),  # (number u64, digest)* of non-zero chunks
    )
)

shared_copies = sa.Table(  # running copies whose ranges any worker may store
    "shared_copies",
    metadata,
    _id("operation_id", sa.ForeignKey("operations.id"), primary_key=True),
    sa.Column("epoch", sa.Integer, nullable=False),  # of the run that shares it
    sa.Column("range_count", sa.Integer, nullable=False),
    sa.Column("ranges", sa.LargeBinary, nullable=False),  # (first chunk u64, count u32)*
)

range_claims = sa.Table(  # who stores a range of a shared copy; void once that worker is gone
    "range_claims",
    metadata,
    _id("operation_id", sa.ForeignKey("operations.id"), primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True),
    sa.Column("worker", sa.Text, nullable=False),
)

operation_packs = sa.Table(  # packs that a running copy relies on
    "operation_packs",
    metadata,
    _id("operation_id", sa.ForeignKey("operations.id"), primary_key=True),
    sa.Column("pack", sa.Integer, sa.ForeignKey("packs.number"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)

manifest_packs = sa.Table(  # packs that a sealed content relies on
    "manifest_packs",
    metadata,
    sa.Column("manifest", sa.LargeBinary(32), sa.ForeignKey("manifests.digest"), primary_key=True),
    sa.Column("pack", sa.Integer, sa.ForeignKey("packs.number"), primary_key=True, index=True),
    sqlite_with_rowid=False,
)

known_contents = sa.Table(  # what a source's file held when it was last copied
    "known_contents",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("location", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("manifest", sa.LargeBinary(32), sa.ForeignKey("manifests.digest"), nullable=False),
    sa.Column("checksum", sa.Text),  # the one that the file was found to have
)

workers = sa.Table(  # processes that run workflows of a shared database; both times are its clock's
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("renewed_at", UtcDateTime, nullable=False),  # its last sign of life
    sa.Column("workflows", sa.Text, nullable=False, server_default="1"),  # the version it runs
)

keeper_runs = sa.Table(  # collections and scrubs: work on the whole store
    "keeper_runs",
    metadata,
    _id(primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # RunKind
    sa.Column("state", sa.Text, nullable=False),  # RunState
    sa.Column("options", sa.JSON, nullable=False),  # what was asked for
    sa.Column("epoch", sa.Integer, nullable=False),  # raised at each begin; fences the one before
    sa.Column("attempts", sa.Integer, nullable=False),  # begins since progress was last saved
    sa.Column("progress", sa.JSON, nullable=False),  # how far it is, and what it goes on from
    sa.Column("report", sa.JSON(none_as_null=True)),  # what it came to
    sa.Column("failure", sa.JSON(none_as_null=True)),  # Failure.to_record()
    sa.Column("created_by", sa.Text, nullable=False),  # the subject's id; empty: by itself
    sa.Column("stop_asked", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("modified_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Index(None, "state"),
)
