"""A catalogue with a folder, and copies in it as far as a test wants them, without any bytes."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from clouddesktop.catalog import copies, sealing
from clouddesktop.catalog.copies import CopyRun, RangeRecord, StoredPack
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import add_cloud, add_folder
from clouddesktop.catalog.images import add_image
from clouddesktop.catalog.operations import add_operation
from clouddesktop.ids import Digest, PackId
from clouddesktop.model.folder import Cloud, Folder
from clouddesktop.model.image import ComputeImage, Image, ImageStatus
from clouddesktop.model.operation import Operation, OperationKind
from clouddesktop.store.codec import Codec
from clouddesktop.store.packs import PackEntry

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SOURCE = ComputeImage(id="golden", folder_id="f", source="images", location="golden.qcow2")
MANIFEST = Digest(b"m" * 32)


def digest(number: int) -> Digest:
    """Name a chunk that there is not."""
    return Digest(number.to_bytes(32, "big"))


def pack(name: str, *numbers: int) -> StoredPack:
    """A pack of chunks of 100 stored bytes each."""
    entries = [
        PackEntry(
            digest=digest(number),
            codec=Codec.ZSTD,
            offset=100 * position,
            stored_size=100,
            plain_size=1000,
        )
        for position, number in enumerate(numbers)
    ]
    return StoredPack(PackId(name), 100 * len(numbers), entries)


def range_of(index: int, *numbers: int) -> RangeRecord:
    """A range of these chunks, with figures that are easy to tell apart."""
    return RangeRecord(
        index=index,
        chunks=[(10 * index + place, digest(number)) for place, number in enumerate(numbers)],
        bytes_new=1000,
        bytes_stored=100,
        bytes_deduplicated=10,
        bytes_zero=1,
    )


def add_default_folder(database: Database) -> None:
    """Make the tables, and the folder that the copies belong to."""
    database.migrate()

    def prepare(connection: sa.Connection) -> None:
        add_cloud(connection, Cloud(id="c", name="cloud", created_at=NOW))
        add_folder(connection, Folder(id="f", cloud_id="c", name="default", created_at=NOW))

    database.write(prepare)


def begin(database: Database, name: str) -> CopyRun:
    """Accept a copy and begin its first run."""
    image = image_to_be(f"image-{name}", folder_id="f", name=name)
    database.write(accept, name, image, SOURCE)
    run = database.write(copies.begin_run, name)
    assert run is not None
    return run


def image_to_be(image_id: str, *, folder_id: str, name: str) -> Image:
    """An image that a copy is to make."""
    return Image(
        id=image_id,
        folder_id=folder_id,
        name=name,
        status=ImageStatus.CREATING,
        created_at=NOW,
    )


def accept(
    connection: sa.Connection, operation_id: str, image: Image, source: ComputeImage
) -> None:
    """Add an image, and the operation that is to make it."""
    add_image(connection, image)
    operation = Operation(
        id=operation_id,
        kind=OperationKind.COPY_IMAGE,
        description="Copy",
        created_at=image.created_at,
        created_by="admin",
        modified_at=image.created_at,
        done=False,
        resource_id=image.id,
        folder_id=image.folder_id,
    )
    add_operation(connection, operation, compute_image=source, workflow_id=f"{operation_id}-1")


def plan(database: Database, run: CopyRun, *, settled: bool = True) -> None:
    """Record a plan."""
    database.write(
        copies.record_plan,
        run,
        fingerprint="print",
        settled=settled,
        disk_size=5_000_000,
        bytes_total=3000,
    )


def publish(database: Database, run: CopyRun) -> None:
    """Seal and publish what was recorded."""
    database.write(
        sealing.record_manifest,
        run,
        manifest=MANIFEST,
        writer=run.operation_id,
        disk_size=5_000_000,
        storage_size=200,
    )
    database.write(copies.publish, run, manifest=MANIFEST)


def count(database: Database, table: sa.Table) -> int:
    """Count a table's rows."""
    return database.read(
        lambda connection: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    )
