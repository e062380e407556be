"""How long a collection and the store's figures take in a store of many images, and in what memory.

    python benchmarks/collecting.py [IMAGES]

Each image has 64 packs of 128 chunks (2 GiB of data) and shares three quarters of them with others;
a tenth of the images is deleted. Catalogue and manifests are real; the packs' blobs are not there,
so nothing is written anew. 160 images have a thousandth of the chunks of 100 TB, 1850 a hundredth.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog import tables
from clouddesktop.catalog.engine import Database
from clouddesktop.ids import Digest
from clouddesktop.keeping.stats import StoreMeter
from clouddesktop.model.image import ImageStatus
from clouddesktop.model.manifest import CHUNK_SIZE, Manifest
from clouddesktop.store.codec import digest_of

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from parts.keeping import FOLDER, NOW, Folderful

PACKS = 64
CHUNKS = 128
SHARED_POOL = 480
STORED = 100_000


def chunk(pack: int, place: int) -> Digest:
    return digest_of(f"{pack}-{place}".encode())


def add_packs(connection: sa.Connection, first: int, count: int) -> None:
    numbers = range(first, first + count)
    connection.execute(
        sa.insert(tables.packs),
        [
            {"number": each, "id": f"e3oold/{each}", "operation_id": "e3oold", "size": size_of()}
            for each in numbers
        ],
    )
    connection.execute(
        sa.insert(tables.chunks),
        [
            {
                "digest": chunk(each, place),
                "pack": each,
                "codec": 0,
                "offset": 16 + place * STORED,
                "stored_size": STORED,
                "plain_size": CHUNK_SIZE,
            }
            for each in numbers
            for place in range(CHUNKS)
        ],
    )


def size_of() -> int:
    return 72 + CHUNKS * (52 + STORED)


def add_image(connection: sa.Connection, number: int, manifest: Digest, packs: list[int]) -> None:
    connection.execute(
        sa.insert(tables.manifests).values(
            digest=manifest, disk_size=0, storage_size=0, created_at=NOW
        )
    )
    connection.execute(
        sa.insert(tables.manifest_packs), [{"manifest": manifest, "pack": each} for each in packs]
    )
    connection.execute(
        sa.insert(tables.images).values(
            id=f"e3v{number}",
            folder_id=FOLDER,
            name=str(number),
            description="",
            labels={},
            status=int(ImageStatus.ACTIVE),
            created_at=NOW,
            storage_size=0,
            min_disk_size=0,
            manifest=manifest,
        )
    )


def database_size(folder: Folderful) -> int:
    return sum(each.stat().st_size for each in folder.folder.glob("catalogue.db*"))


def fill(folder: Folderful, images: int) -> None:
    chance = random.Random(1)  # noqa: S311  (test data)
    folder.database.write(add_packs, 1, SHARED_POOL)
    own = PACKS // 4
    for number in range(images):
        first = SHARED_POOL + 1 + number * own
        folder.database.write(add_packs, first, own)
        packs = [*chance.sample(range(1, SHARED_POOL + 1), PACKS - own), *range(first, first + own)]
        digests = [chunk(pack, place) for pack in packs for place in range(CHUNKS)]
        manifest = folder.manifests.put(
            Manifest(
                size=len(digests) * CHUNK_SIZE,
                chunk_size=CHUNK_SIZE,
                chunks=dict(enumerate(digests)),
            )
        )
        folder.database.write(add_image, number, manifest, packs)


class Writes:
    """Notes how long the longest write took, with what it waited for."""

    def __init__(self, database: Database) -> None:
        self._write = database.write
        self.longest_seconds = 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return self._write(*args, **kwargs)
        finally:
            self.longest_seconds = max(self.longest_seconds, time.perf_counter() - begin)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as place:
        folder = Folderful.made(Path(place))
        fill(folder, images)
        size = database_size(folder) >> 20
        print(
            f"{images} images of {PACKS} packs; {peak()} MiB at the beginning, database {size} MiB"
        )
        for number in range(0, images, 10):
            folder.delete(str(number))
        writes = Writes(folder.database)
        folder.database.write = writes  # type: ignore[method-assign]  # only to look on
        for what in ("first", "second"):
            begin = time.perf_counter()
            report = folder.collect(least_live=0.0, keep_unknown=True)
            seconds = time.perf_counter() - begin
            print(f"{what} collection: {seconds:.1f} s, peak {peak()} MiB: {report}", flush=True)
        print(f"longest write: {writes.longest_seconds * 1000:.0f} ms")
        begin = time.perf_counter()
        figures = StoreMeter(database=folder.database, manifests=folder.manifests).measure()
        seconds = time.perf_counter() - begin
        print(f"figures: {seconds:.1f} s, peak {peak()} MiB, {figures.packs} packs")
        folder.close()


if __name__ == "__main__":
    main()
