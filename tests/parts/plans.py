"""How PostgreSQL runs the queries that are asked for often: their plans, from the server itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from clouddesktop.catalog import (
    chunks,
    collecting,
    orphans,
    page_positions,
    quotas,
    tables,
    usage,
    workers,
)
from clouddesktop.catalog.audit import list_ended
from clouddesktop.catalog.contents import find_known_content
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.image_lists import list_images
from clouddesktop.catalog.images import get_image, get_image_with_verification, to_image
from clouddesktop.catalog.operations import (
    find_earlier_operation,
    find_running_operation,
    get_operation,
    list_operations,
    list_unfinished,
)
from clouddesktop.catalog.pruning import prune_operations
from clouddesktop.ids import Digest, PackId
from clouddesktop.model.image import ComputeImage
from clouddesktop.model.listing import NameCondition, Position, SortField, SortKey
from clouddesktop.model.operation import IdempotencyKey
from clouddesktop.model.quota import QuotaId
from clouddesktop.workflow.queue import WorkflowQueue

Ask = Callable[[], object]


class _UndoneError(Exception):
    """Takes back what a write has done."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What EXPLAIN (ANALYZE, BUFFERS) says of one statement."""

    statement: str
    root: Mapping[str, Any]
    seconds: float

    @property
    def nodes(self) -> Iterator[Mapping[str, Any]]:
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.get("Plans", [])))

    @property
    def scanned(self) -> set[str]:
        """The tables that are read from one end to the other."""
        return {
            node["Relation Name"]
            for node in self.nodes
            if node["Node Type"] == "Seq Scan" and node["Actual Loops"]
        }

    @property
    def blocks(self) -> int:
        """How many pages of 8 KiB were looked at."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    @property
    def rows_passed_over(self) -> int:
        """Rows that were read, and left out by a condition."""
        return int(
            sum(
                node.get(key, 0) * node["Actual Loops"]
                for node in self.nodes
                for key in ("Rows Removed by Filter", "Rows Removed by Join Filter")
            )
        )

    def describe(self) -> str:
        """Say in one line which tables are read, and how."""
        steps = []
        for node in self.nodes:
            kind = node["Node Type"]
            if "Relation Name" in node and kind != "ModifyTable":
                index = node.get("Index Name")
                steps.append(f"{kind} {node['Relation Name']}" + (f" ({index})" if index else ""))
            elif kind == "Bitmap Index Scan":
                steps.append(f"({node['Index Name']})")
            elif kind in {"Sort", "Incremental Sort", "Hash Join", "Merge Join"}:
                steps.append(kind)
        return "; ".join(steps)


@contextmanager
def explained() -> Iterator[list[Plan]]:
    """Have the server explain each statement that this process sends while the context lasts.

    Each is run twice: what the explained one did is taken back at once.
    """
    plans: list[Plan] = []

    def explain(
        _connection: Any, cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        word = statement.split(None, 1)[0]
        if many or word not in {"SELECT", "UPDATE", "DELETE", "WITH"}:
            return
        cursor.execute("SAVEPOINT explained")
        try:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
            answer = cursor.fetchone()[0][0]
        finally:
            cursor.execute("ROLLBACK TO SAVEPOINT explained")
        seconds = (answer["Planning Time"] + answer["Execution Time"]) / 1000
        plans.append(Plan(statement=statement, root=answer["Plan"], seconds=seconds))

    sa.event.listen(sa.Engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", explain)


class Known(NamedTuple):
    """Rows of the database that queries are about."""

    folder_id: str
    image: Any
    operation: Any
    key: Any
    digests: list[Digest]
    pack_id: PackId
    content: Any
    cloud_id: str


def find_known(database: Database) -> Known:
    """Pick some rows, of the largest folder where that matters."""

    def pick(connection: sa.Connection) -> Known:
        images, operations = tables.images, tables.operations
        folder_id = connection.scalar(
            sa.select(images.c.folder_id)
            .group_by(images.c.folder_id)
            .order_by(sa.func.count().desc())
            .limit(1)
        )
        in_folder = sa.select(images).where(images.c.folder_id == folder_id)
        middle = connection.scalar(sa.select(sa.func.count()).select_from(in_folder.subquery()))
        image = connection.execute(
            in_folder.order_by(images.c.id).offset((middle or 0) // 2).limit(1)
        ).one()
        return Known(
            folder_id=str(folder_id),
            image=image,
            operation=connection.execute(
                sa.select(operations).where(operations.c.resource_id == image.id).limit(1)
            ).one(),
            key=connection.execute(sa.select(tables.idempotency_keys).limit(1)).one(),
            digests=[
                Digest(each)
                for each in connection.scalars(sa.select(tables.chunks.c.digest).limit(256))
            ],
            pack_id=PackId(connection.scalars(sa.select(tables.packs.c.id).limit(1)).one()),
            content=connection.execute(sa.select(tables.known_contents).limit(1)).one(),
            cloud_id=connection.scalars(
                sa.select(tables.folders.c.cloud_id).where(tables.folders.c.id == folder_id)
            ).one(),
        )

    return database.read(pick)


def calls_queries(database: Database, known: Known) -> dict[str, Ask]:
    """Give what calls of the API ask the catalogue."""
    read = database.read
    image = to_image(tuple(known.image))
    folder_id = known.folder_id

    def page(order: list[SortKey], **options: Any) -> Ask:
        after = Position.of_image(image, order)
        return lambda: read(
            list_images, folder_id=folder_id, page_size=100, after=after, order=order, **options
        )

    unlike = [NameCondition(names=["a", "b"], is_negated=True)]
    named = [NameCondition(names=[image.name])]
    key = IdempotencyKey(key=known.key.key, request_digest=known.key.request_digest)
    origin = ComputeImage(
        id="", folder_id="", source=known.content.source, location=known.content.location
    )
    now = datetime.now(tz=UTC)
    return {
        "Get": lambda: read(get_image, image.id),
        "Get with its verification": lambda: read(get_image_with_verification, image.id),
        "List, first page": lambda: read(list_images, folder_id=folder_id, page_size=100),
        "List, in the middle": page([]),
        "List, in the middle, filtered": page([], conditions=unlike),
        "List, by a name": lambda: read(
            list_images, folder_id=folder_id, page_size=100, conditions=named
        ),
        **{
            f"List, {field.value}{' desc' if is_descending else ''}": page(
                [SortKey(field=field, is_descending=is_descending)]
            )
            for field in SortField
            for is_descending in (False, True)
        },
        "Operation Get": lambda: read(get_operation, known.operation.id),
        "ListOperations": lambda: read(list_operations, image.id, page_size=100),
        "ListOperations, next page": lambda: read(
            list_operations, image.id, page_size=100, after=known.operation.id
        ),
        "an idempotency key": lambda: read(
            find_earlier_operation, subject_id=known.key.subject, idempotency=key
        ),
        "the operation that makes an image": lambda: read(find_running_operation, image.id),
        "a known content": lambda: read(
            find_known_content, compute_image=origin, fingerprint=known.content.fingerprint
        ),
        "a page's kept position": lambda: read(page_positions.find_position, b"?", now=now),
    }


def quota_queries(database: Database, known: Known) -> dict[str, Ask]:
    """Give what a Copy asks where there are quotas: they count what is used."""
    limits = {QuotaId.IMAGES_COUNT: 10**9, QuotaId.IMAGES_SIZE: 10**18}

    def check(connection: sa.Connection, quota_id: QuotaId) -> None:
        quotas.set_limit(connection, known.cloud_id, quota_id, limits[quota_id])
        quotas.check_quotas(connection, known.folder_id, {quota_id: 1})

    return {f"quota {each}": undone(database, check, each) for each in limits}


def workers_queries(database: Database, queue: WorkflowQueue, known: Known) -> dict[str, Ask]:
    """Give what workers ask: about copies, about each other, and about what may go."""
    read = database.read
    now = datetime.now(tz=UTC)
    long_ago = now - timedelta(days=10_000)
    engine: Any = queue._opened._sys_db
    return {
        "chunks that are known": lambda: read(chunks.find_known, known.digests),
        "places of chunks": lambda: read(chunks.find_places, known.digests),
        "stored size of chunks": lambda: read(chunks.sum_stored_size, known.digests),
        "workers that live": lambda: read(workers.list_living),
        "workflows that run": queue.list_running,
        "workflows of some operations": lambda: queue.find_live([f"{known.operation.id}-1"] * 100),
        "folders with something to copy": lambda: engine.get_queue_partitions("copies"),
        "operations that run": lambda: read(list_unfinished),
        "ends to audit": lambda: read(list_ended),
        "writers of blobs": lambda: read(orphans.find_writers, [known.operation.id]),
        "packs of blobs": lambda: read(orphans.find_known_packs, [known.pack_id]),
        "prune operations": undone(
            database, prune_operations, ended_before=now, keys_before=now - timedelta(hours=24)
        ),
        "prune operations, none due": undone(
            database, prune_operations, ended_before=long_ago, keys_before=long_ago
        ),
        "prune workflows, none due": lambda: queue.prune(long_ago, at_once=200),
        "packs that nobody needs": lambda: read(collecting.list_unneeded_packs, limit=1),
        "packs to look into": lambda: read(collecting.list_dirty_packs, limit=512),
    }


def whole_queries(database: Database) -> dict[str, Ask]:
    """Give what has to read whole tables, once a minute or when somebody asks."""
    return {
        "contents that nobody has": lambda: database.read(collecting.list_dead_contents, limit=1),
        "packs to look into, counted": lambda: database.read(collecting.count_dirty_packs),
        "store stats, its images": lambda: database.read(
            usage.list_image_usage, limit=5_000, after="e3v8"
        ),
    }


def undone(database: Database, query: Callable[..., object], *args: Any, **kwargs: Any) -> Ask:
    """Give a write that is taken back."""

    def write(connection: sa.Connection) -> None:
        query(connection, *args, **kwargs)
        raise _UndoneError

    def ask() -> None:
        with suppress(_UndoneError):
            database.write(write)

    return ask
