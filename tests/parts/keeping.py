"""A catalogue and a store with images made of lettered chunks, by the copies' own transactions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog import copies, keeper_runs, sealing, tables
from clouddesktop.catalog.chunks import find_known, find_places, sum_stored_size
from clouddesktop.catalog.contents import find_known_content
from clouddesktop.catalog.copies import ChunkGoneError, CopyRun, RangeRecord, StoredPack
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import add_cloud, add_folder
from clouddesktop.catalog.images import add_image, delete_image
from clouddesktop.delivery.export import Exports
from clouddesktop.errors import NotFoundError
from clouddesktop.ids import Digest, PackId
from clouddesktop.keeping.gc import Collector
from clouddesktop.keeping.runs import Turn
from clouddesktop.model.folder import Cloud, Folder
from clouddesktop.model.image import ComputeImage, Image, ImageStatus
from clouddesktop.model.keeping import KeeperRun, RunKind, RunState
from clouddesktop.model.manifest import Manifest
from clouddesktop.store.blobs import open_store
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.codec import digest_of, encode
from clouddesktop.store.manifests import ManifestStore
from clouddesktop.store.packs import PackWriter
from parts.copies import accept, image_to_be

CHUNK = 4096
"""Bytes of a chunk in these stores, where nothing depends on the usual size."""

NOW = datetime(2026, 11, 25, tzinfo=UTC)
FOLDER = "b1gfolder"


def content_of(letter: str) -> bytes:
    """Give the plain bytes of a lettered chunk; nobody but the text `0` is zero."""
    return letter.encode().ljust(CHUNK, b".")


MOST_TRIES = 3
"""The last try of a range shares nothing (copying/ranges.py)."""


class Crash(BaseException):
    """The process is gone: nothing after this runs in it."""


@dataclass(kw_only=True)
class Folderful:
    """One data folder; `reopened` gives what the next process sees of it."""

    folder: Path
    failpoint: Callable[[str], None] = lambda _name: None
    numbers: Iterable[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.database = Database(f"sqlite:///{self.folder / 'catalogue.db'}")
        blobs = open_store((self.folder / "store").as_uri())
        self.chunks = ChunkStore(blobs)
        self.manifests = ManifestStore(blobs)
        self.exports = Exports(database=self.database, chunks=self.chunks, manifests=self.manifests)

    @classmethod
    def made(cls, folder: Path, **options: Any) -> Folderful:
        made = cls(folder=folder, **options)
        made.database.migrate()
        made.database.write(add_cloud, Cloud(id="b1ccloud", name="default", created_at=NOW))
        made.database.write(
            add_folder,
            Folder(id=FOLDER, cloud_id="b1ccloud", name="default", created_at=NOW),
        )
        return made

    def close(self) -> None:
        self.database.close()

    def begin_copy(self, name: str) -> CopyRun:
        """Accept a copy and begin its first run; ids are made of the name."""
        operation_id = f"e3o{name}"
        image = image_to_be(f"e3v{name}", folder_id=FOLDER, name=name)
        source = ComputeImage(id=name, folder_id=FOLDER, source="images", location=name)
        self.database.write(accept, operation_id, image, source)
        return self.plan(self.take_over(operation_id))

    def take_over(self, operation_id: str) -> CopyRun:
        run = self.database.write(copies.begin_run, operation_id)
        assert run is not None
        return run

    def plan(self, run: CopyRun) -> CopyRun:
        self.database.write(
            copies.record_plan, run, fingerprint="f", settled=True, disk_size=0, bytes_total=0
        )
        return run

    def copy_known(self, name: str, origin: str) -> bool:
        """Make an image in one transaction if the content copied as `origin` is still known."""

        def accept(connection: sa.Connection) -> bool:
            source = ComputeImage(id=origin, folder_id=FOLDER, source="images", location=origin)
            known = find_known_content(connection, compute_image=source, fingerprint="f")
            if known is not None:
                image = Image(
                    id=f"e3v{name}",
                    folder_id=FOLDER,
                    name=name,
                    status=ImageStatus.ACTIVE,
                    created_at=NOW,
                    manifest=known.manifest,
                )
                add_image(connection, image)
            return known is not None

        return self.database.write(accept)

    def store_range(self, run: CopyRun, index: int, first: int, letters: str) -> None:
        """Store chunks as ranges do: look what is known, put a pack, record, or begin again."""
        for attempt in range(1, MOST_TRIES + 1):
            with suppress(ChunkGoneError):
                self._store_range(run, index, first, letters, attempt)
                return
        raise AssertionError("The last try shares nothing, so no chunk of it can be gone.")

    def _store_range(
        self, run: CopyRun, index: int, first: int, letters: str, attempt: int
    ) -> None:
        references = [
            (first + place, digest_of(content_of(letter)))
            for place, letter in enumerate(letters)
            if letter != "0"
        ]
        asked = [digest for _, digest in references] if attempt < MOST_TRIES else []
        known = self.database.read(find_known, asked)
        self.failpoint("range-known")
        writer = PackWriter()
        for letter in sorted(set(letters) - {"0"}):
            plain = content_of(letter)
            if digest_of(plain) not in known:
                writer.add(digest_of(plain), *encode(plain), len(plain))
        pack = self._put(writer, PackId(f"{run.operation_id}/{index}-{run.epoch}-{attempt}"))
        self.failpoint("range-put")
        record = RangeRecord(
            index=index,
            chunks=references,
            bytes_new=0,
            bytes_stored=0,
            bytes_deduplicated=0,
            bytes_zero=0,
        )
        if not self.database.write(copies.record_range, run, record, pack=pack) and pack:
            self.chunks.delete_pack(pack.id)
        self.failpoint("range-recorded")

    def _put(self, writer: PackWriter, pack_id: PackId) -> StoredPack | None:
        if writer.is_empty:
            return None
        entries, data = writer.finish()
        self.chunks.put_pack(pack_id, data)
        return StoredPack(pack_id, len(memoryview(data)), entries)

    def seal(self, run: CopyRun, size: int) -> Digest:
        """Seal a content of `size` chunks as copies do."""
        content = self.database.read(
            lambda connection: dict(copies.iter_recorded_chunks(connection, run))
        )
        mine = f"{run.operation_id}-{run.epoch}"
        manifest = Manifest(size=size * CHUNK, chunk_size=CHUNK, chunks=content)
        digest = self.manifests.put(manifest, writer=mine)
        self.failpoint("seal-put")
        counts = self.database.write(
            sealing.record_manifest,
            run,
            manifest=digest,
            writer=mine,
            disk_size=size * CHUNK,
            storage_size=self.database.read(sum_stored_size, list(set(content.values()))),
        )
        self.failpoint("seal-recorded")
        if counts != mine:
            self.manifests.delete(
                next(
                    each
                    for each in self.manifests.iter_blobs()
                    if each.digest == digest and each.writer == mine
                )
            )
        return digest

    def copy(self, name: str, letters: str, *, per_range: int = 4) -> None:
        """Make an image whose chunks are these letters."""
        run = self.begin_copy(name)
        for index, first in enumerate(range(0, len(letters), per_range)):
            self.store_range(run, index, first, letters[first : first + per_range])
        self.publish(run, self.seal(run, len(letters)))

    def publish(self, run: CopyRun, manifest: Digest) -> None:
        self.database.write(copies.publish, run, manifest=manifest)

    def delete(self, name: str) -> None:
        self.database.write(delete_image, f"e3v{name}")

    def read(self, name: str) -> bytes:
        """Read the whole image, verified."""
        reader = self.exports.open_image(f"e3v{name}")
        return reader.read(0, reader.size)

    def collector(self, **options: Any) -> Collector:
        return Collector(
            database=self.database,
            chunks=self.chunks,
            manifests=self.manifests,
            failpoint=self.failpoint,
            **options,
        )

    def turn(self, run_id: str = "", **options: Any) -> Turn:
        """Begin a new run of the keeper, or take over the one with this id."""
        if not run_id:
            run_id = f"e3k{next(iter(self.numbers))}"
            self.database.write(
                keeper_runs.add_run,
                KeeperRun(
                    id=run_id,
                    kind=RunKind.GC,
                    state=RunState.WAITING,
                    options=options,
                    progress={},
                    created_by="",
                    created_at=NOW,
                ),
            )
        run = self.database.write(keeper_runs.begin_run, run_id)
        assert run is not None
        return Turn(run, database=self.database)

    def collect(self, *, least_live: float = 1.0, **options: Any) -> Mapping[str, Any]:
        """Run a whole collection, to its report."""
        turn = self.turn(**options)
        report = self.collector(least_live=least_live).run(turn)
        self.database.write(
            keeper_runs.end_run, turn.run_id, turn.epoch, state=RunState.DONE, report=report
        )
        return report

    def indexed_chunks(self) -> set[Digest]:
        return {Digest(each) for each in self.column(tables.chunks.c.digest)}

    def indexed_packs(self) -> set[str]:
        return set(self.column(tables.packs.c.id))

    def stored_packs(self) -> set[str]:
        return set(self.chunks.iter_packs())

    def column(self, column: sa.Column[Any]) -> list[Any]:
        return self.database.read(lambda connection: list(connection.scalars(sa.select(column))))

    def check_index(self) -> None:
        """Every chunk in the index can be read and is right."""
        digests = sorted(self.indexed_chunks())
        places = self.database.read(find_places, digests)
        self.chunks.read_chunks([places[each] for each in digests])

    def is_gone(self, name: str) -> bool:
        try:
            self.exports.open_image(f"e3v{name}")
        except NotFoundError:
            return True
        return False
