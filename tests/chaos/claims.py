"""What must hold once everything has settled."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import grpc
import sqlalchemy as sa
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageMetadata,
    GetDesktopImageRequest,
)
from yandex.cloud.operation.operation_pb2 import Operation

from chaos.asking import Asking, Clients
from chaos.wishes import MUST_FAIL, Kind, Wish
from clouddesktop.catalog import tables
from clouddesktop.delivery.export import Exports
from clouddesktop.ids import to_digest
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.store_calls import StoreCalls

_SETTLING_SECONDS = 120
_PIECE = 8 << 20


def check_operations(wishes: list[Wish], asking: Asking, clients: Clients) -> dict[str, Wish]:
    """Every wish was accepted and is done, rightly so; give the images there are, by their ids."""
    images: dict[str, Wish] = {}
    deadline = time.monotonic() + _SETTLING_SECONDS
    for wish in wishes:
        operation = asking.accepted[wish.name]
        while not (now := clients.get(operation.id, until=deadline)).done:
            assert time.monotonic() < deadline, f"{wish} is not done: {now}"
            time.sleep(0.1)
        seen = asking.finished.setdefault(operation.id, now)
        assert now == seen, "an acknowledged result has changed"
        if now.WhichOneof("result") == "response":
            assert wish.kind not in MUST_FAIL, wish
            images[_image_of(now).id] = wish
        else:
            _check_failure(wish, now, clients)
        again = clients.copy(wish, until=deadline)
        assert again == now, f"the key of {wish} gives another operation"
    assert len({each.id for each in asking.accepted.values()}) == len(wishes)
    return images


def _check_failure(wish: Wish, operation: Operation, clients: Clients) -> None:
    assert wish.kind in {*MUST_FAIL, Kind.VANISHING}, f"{wish} has failed: {operation}"
    assert operation.error.code
    assert wish.compute_image_id in operation.error.message, operation
    metadata = CopyDesktopImageMetadata()
    assert operation.metadata.Unpack(metadata)
    request = GetDesktopImageRequest(image_id=metadata.image_id)

    def is_there(client: OfficialClient) -> bool:
        try:
            client.images.Get(request, timeout=5)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return False
            raise
        return True

    assert not clients.call(is_there, until=time.monotonic() + 60), f"{wish} has left an image"


def check_bytes(inspection: Inspection, images: dict[str, Wish]) -> None:
    """Every image there is belongs to a success, and reads as the disk that it was copied from."""
    assert set(inspection.column(tables.images.c.id)) == set(images)
    truths: dict[Path, str] = {}
    exports = Exports(
        database=inspection.database, chunks=inspection.chunks, manifests=inspection.manifests
    )
    for image_id, wish in images.items():
        if wish.truth not in truths:
            with wish.truth.open("rb") as file:
                truths[wish.truth] = hashlib.file_digest(file, "sha256").hexdigest()
        reader = exports.open_image(image_id)
        found = hashlib.sha256()
        for offset in range(0, reader.size, _PIECE):
            found.update(reader.read(offset, min(_PIECE, reader.size - offset)))
        assert found.hexdigest() == truths[wish.truth], f"{wish} reads as something else"


def check_store(inspection: Inspection, profile: Path) -> None:
    """A collection leaves exactly what the images need, and a scrub finds nothing wrong with it."""
    calls = StoreCalls(profile)
    for _ in range(2):  # what the first makes dirty, the second gives back
        collected = calls.collect()
        assert not collected["problems"], collected
    scrubbed = calls.scrub()
    calls.close()
    figures = {name: number for name, number in scrubbed.items() if "damaged" in name}
    assert figures
    assert not any(figures.values()), scrubbed
    assert scrubbed["packs_checked"]

    inspection.check_store()  # no pack that is not known, none missing, every chunk whole
    needed = {to_digest(bytes(each)) for each in _manifests_of_images(inspection)}
    assert {each.digest for each in inspection.manifests.iter_blobs()} == needed
    assert len(list(inspection.manifests.iter_blobs())) == len(needed)
    manifests = [inspection.manifests.get(each) for each in needed]
    live = {bytes(each) for manifest in manifests for each in manifest.chunks.values()}
    indexed = inspection.column(tables.chunks.c.digest)
    assert {bytes(each) for each in indexed} == live  # type: ignore[call-overload]
    for table in (tables.copy_ranges, tables.operation_packs, tables.damaged_chunks):
        assert inspection.count(table) == 0, table.name


def check_workflows(inspection: Inspection) -> None:
    """None is waiting or running."""
    query = sa.text(
        "SELECT workflow_uuid, status, executor_id FROM dbos.workflow_status"
        " WHERE status IN ('PENDING', 'ENQUEUED', 'DELAYED')"
    )
    left = inspection.database.read(lambda connection: connection.execute(query).all())
    assert not left


def _manifests_of_images(inspection: Inspection) -> set[bytes]:
    return {
        bytes(each)  # type: ignore[call-overload]
        for each in inspection.column(tables.images.c.manifest)
    }


def _image_of(operation: Operation) -> DesktopImage:
    image = DesktopImage()
    assert operation.response.Unpack(image), operation
    return image
