"""What is really in a data folder, read without its server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog import tables
from clouddesktop.catalog.chunks import find_places
from clouddesktop.catalog.engine import Database
from clouddesktop.delivery.export import Exports
from clouddesktop.ids import Digest
from clouddesktop.s3 import S3Access
from clouddesktop.store.blobs import BlobStore, open_store
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.manifests import ManifestStore
from parts.server import ServerProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Opens the catalogue and the store of a server that has stopped."""

    database: Database
    chunks: ChunkStore
    manifests: ManifestStore

    @classmethod
    def of(
        cls, data_dir: Path, *, store: Path | None = None, blobs: BlobStore | None = None
    ) -> Inspection:
        blobs = blobs or open_store(f"file://{store or data_dir / 'store'}")
        return cls(
            database=Database(f"sqlite:///{data_dir / 'clouddesktop.db'}"),
            chunks=ChunkStore(blobs),
            manifests=ManifestStore(blobs),
        )

    @classmethod
    def of_server(cls, server: ServerProcess) -> Inspection:
        """Look into what a server works on, wherever that lies."""
        return cls.of_shared(server.database_url, server.store_url, server.variables)

    @classmethod
    def of_shared(
        cls, database_url: str, store_url: str, variables: Mapping[str, str]
    ) -> Inspection:
        """Look into a database and a store; S3 is reached as the variables say."""
        access = S3Access(
            endpoint=variables.get("AWS_ENDPOINT_URL"),
            region=variables.get("AWS_REGION", ""),
            access_key_id=variables.get("AWS_ACCESS_KEY_ID"),
            secret_access_key=variables.get("AWS_SECRET_ACCESS_KEY"),
        )
        blobs = open_store(store_url, access=access)
        return cls(
            database=Database(database_url),
            chunks=ChunkStore(blobs),
            manifests=ManifestStore(blobs),
        )

    def close(self) -> None:
        self.database.close()

    def column(self, column: sa.Column[object]) -> list[object]:
        """Give all values of one column."""
        return self.database.read(lambda connection: list(connection.scalars(sa.select(column))))

    def rows(self, *columns: sa.Column[Any]) -> list[tuple[Any, ...]]:
        """Give some columns of each row of a table."""
        return self.database.read(
            lambda connection: [tuple(row) for row in connection.execute(sa.select(*columns))]
        )

    def count(self, table: sa.Table) -> int:
        query = sa.select(sa.func.count()).select_from(table)
        return self.database.read(lambda connection: connection.scalar(query) or 0)

    def check_image(self, image_id: str, expected: Path) -> None:
        """Read the whole image, verified, and compare it with a raw file."""
        reader = Exports(
            database=self.database, chunks=self.chunks, manifests=self.manifests
        ).open_image(image_id)
        assert reader.size == expected.stat().st_size
        with expected.open("rb") as file:
            for offset in range(0, reader.size, 8 << 20):
                length = min(8 << 20, reader.size - offset)
                assert reader.read(offset, length) == file.read(length), f"differs near {offset}"

    def check_store(self) -> None:
        """Read and verify every chunk; no pack is unknown to the index, none is missing."""
        stored = set(self.chunks.iter_packs())
        assert stored == set(self.column(tables.packs.c.id))
        digests = [Digest(bytes(each)) for each in self.column(tables.chunks.c.digest)]  # type: ignore[call-overload]
        places = self.database.read(find_places, digests)
        assert set(places) == set(digests)
        for digest in digests:
            self.chunks.read_chunks([places[digest]])
