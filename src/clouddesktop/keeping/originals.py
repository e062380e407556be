"""The files that contents were copied from, as a place to repair them from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

import structlog

from clouddesktop.catalog.scrubbing import Original
from clouddesktop.disk.file import DiskFile, find_bytes
from clouddesktop.disk.reader import Disk, open_disk
from clouddesktop.disk.sandbox import SandboxPolicy
from clouddesktop.disk.spool import Spool
from clouddesktop.errors import CloudDesktopError, UnimplementedError
from clouddesktop.ids import Digest
from clouddesktop.model.manifest import CHUNK_SIZE, Manifest, chunk_length
from clouddesktop.source.base import SourceFile
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.store.codec import digest_of, is_zero

_READ_AT_ONCE = 32
"""Chunks that are read at a time: 8 MiB."""

_log = structlog.get_logger(__name__)


class OpenOriginal(Protocol):
    """`open_original` with its other arguments given."""

    def __call__(
        self, original: Original, *, check_alive: Callable[[], None]
    ) -> AbstractContextManager[Disk | None]: ...


@contextmanager
def open_original(
    sources: SourceCatalogue,
    original: Original,
    *,
    check_alive: Callable[[], None],
    sandbox: SandboxPolicy,
    spool: Spool | None = None,
) -> Iterator[Disk | None]:
    """Open the disk in a source's file if that is still what it was; None if it is not.

    What is read has to be verified by its digest all the same. `check_alive` is called while the
    file is unpacked; what it raises ends that and is raised here.
    """
    image = original.compute_image
    with ExitStack() as stack:
        disk: Disk | None = None
        try:
            file = stack.enter_context(sources.open_file(image))
            file.check_unchanged(original.fingerprint)
            disk = stack.enter_context(
                open_disk(
                    _to_disk_file(file),
                    readers=1,
                    sandbox=sandbox,
                    spool=spool,
                    check_alive=check_alive,
                )
            )
        except CloudDesktopError as error:
            check_alive()
            why = error.message
            _log.info("original is of no use", source=image.source, file=image.location, why=why)
        yield disk


def _to_disk_file(file: SourceFile) -> DiskFile:
    found = find_bytes(file)
    if found is None:
        raise UnimplementedError("The file's server gives it whole only, so chunks cannot be read.")
    return found


def read_chunk(disk: Disk, *, number: int, digest: Digest, chunk_size: int) -> bytes | None:
    """Read one chunk of a disk; None if it is not the one that the digest names."""
    length = chunk_length(number, disk_size=disk.size, chunk_size=chunk_size)
    if length <= 0:
        return None
    buffer = bytearray(length)
    try:
        disk.read_into(number * chunk_size, memoryview(buffer))
    except CloudDesktopError:
        return None
    return bytes(buffer) if digest_of(buffer) == digest else None


def read_manifest(disk: Disk, *, spend: Callable[[int], None]) -> Manifest:
    """Make the manifest of a disk, by reading all of it.

    Raises:
        CloudDesktopError: the disk cannot be read.
    """
    content: dict[int, Digest] = {}
    buffer = memoryview(bytearray(_READ_AT_ONCE * CHUNK_SIZE))
    for extent in disk.iter_extents():
        first = extent.offset // CHUNK_SIZE
        end = -(-min(extent.end, disk.size) // CHUNK_SIZE)
        for start in range(first, end, _READ_AT_ONCE):
            offset = start * CHUNK_SIZE
            length = min(len(buffer), end * CHUNK_SIZE - offset, disk.size - offset)
            disk.read_into(offset, buffer[:length])
            for place in range(0, length, CHUNK_SIZE):
                plain = buffer[place : min(place + CHUNK_SIZE, length)]
                if not is_zero(plain):
                    content[start + place // CHUNK_SIZE] = digest_of(plain)
            spend(length)
    return Manifest(size=disk.size, chunk_size=CHUNK_SIZE, chunks=content)
