"""Rows for a large catalogue, made inside PostgreSQL from rows that the real program has written.

A server copies an image, copies it once more, and updates it. Every further row is one of those
with an id, a name, a folder and a time of its own. Ids and digests are those of a number's digest,
so that a row can name another one without a look-up.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import UpdateDesktopImageRequest

from parts.official import OfficialClient
from parts.server import ServerProcess

_BATCH = 1_000_000
_PAST = "interval '400 days'"
_CHUNKS_IN_PACK = 128
_PACKS_OF_CONTENT = 4
_BIG_FOLDERS = 5


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How many of each; half of the images are in `_BIG_FOLDERS`, where there are so many."""

    images: int
    operations: int
    folders: int

    @property
    def contents(self) -> int:
        return self.images // 10

    @property
    def packs(self) -> int:
        return max(self.images // 50, _PACKS_OF_CONTENT)

    @property
    def workflows(self) -> int:
        """Ended ones: those of contents that were new once."""
        return self.operations // 25


@dataclass(frozen=True, kw_only=True)
class Templates:
    """Ids of the rows that the real program has written."""

    folder_id: str
    image_id: str
    copied: str  # the operation that copied new content
    known: str  # the one that copied it again
    updated: str


def make_templates(server: ServerProcess) -> Templates:
    """Let the real program write a row of each kind.

    The server's options name a database; it has the compute image `tiny` from then on, whose
    content is known.
    """
    (source,) = server.sources.values()
    source.mkdir(exist_ok=True)
    if not (source / "tiny.raw").exists():
        (source / "tiny.raw").write_bytes(os.urandom(4 << 20))
    working = ServerProcess(
        data_dir=server.data_dir,
        sources=server.sources,
        options=("--database", server.database_url, "--workers", "1"),
    )
    working.start()
    try:
        return _write_templates(OfficialClient(working.profile))
    finally:
        working.stop()


def _write_templates(client: OfficialClient) -> Templates:
    copied = client.wait(client.copy("tiny", "first").id)
    known = client.copy("tiny", "second")
    image = DesktopImage()
    assert known.response.Unpack(image), known
    request = UpdateDesktopImageRequest(
        image_id=image.id,
        description="A desktop of the accounting department",
        labels={"department": "accounting", "stage": "production"},
    )
    request.update_mask.paths.extend(["description", "labels"])
    updated = client.images.Update(request, metadata=(("idempotency-key", str(uuid.uuid4())),))
    return Templates(
        folder_id=client.folder_id,
        image_id=image.id,
        copied=copied.id,
        known=known.id,
        updated=updated.id,
    )


def fill(
    url: str,
    shape: Shape,
    templates: Templates,
    *,
    tell: Callable[[str], None] = lambda _text: None,
) -> None:
    """Add rows until the catalogue has the shape, and let the planner know."""
    with psycopg.connect(url, autocommit=True) as connection:
        # The rows name each other as they should by construction: no look-up for each.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '1GB'")
        connection.execute("SET jit = off")
        indexes = _drop_indexes(connection)
        for table, query in _iter_inserts(connection, shape, templates):
            started = time.monotonic()
            count = connection.execute(query).rowcount
            tell(f"{table}: {count:,} rows in {time.monotonic() - started:.0f} s")
        _add_up(connection)
        started = time.monotonic()
        for each in indexes:
            connection.execute(each)
        tell(f"indexes: {time.monotonic() - started:.0f} s")
        connection.execute("VACUUM ANALYZE")


def _add_up(connection: psycopg.Connection[Any]) -> None:
    """Do what triggers would have done."""
    connection.execute("DELETE FROM folder_usage")
    connection.execute(
        "INSERT INTO folder_usage (folder_id, image_count, storage_size)"
        " SELECT folder_id, count(*), sum(storage_size) FROM images GROUP BY folder_id"
    )


def _drop_indexes(connection: psycopg.Connection[Any]) -> list[str]:
    """Drop what no constraint needs, and give the statements that make it again."""
    found = connection.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " JOIN pg_stat_user_tables ON relid = indrelid"
        " WHERE NOT indisunique AND schemaname IN ('public', 'dbos')"
    ).fetchall()
    for name, _ in found:
        connection.execute(f"DROP INDEX {name}")
    return [definition for _, definition in found]


def folder_sql(image: str, shape: Shape) -> str:
    """Give the SQL of the id of the folder that the image of a number is in."""
    spread = f"(hashint4(({image})::int)::bigint & 2147483647)"
    if shape.folders > _BIG_FOLDERS * 2:
        rest = shape.folders - _BIG_FOLDERS
        number = (
            f"CASE WHEN {spread} % 2 = 0 THEN {spread} / 2 % {_BIG_FOLDERS}"
            f" ELSE {_BIG_FOLDERS} + {spread} / 2 % {rest} END"
        )
    else:
        number = f"{spread} % {shape.folders}"
    return _id("b1g", "folder", f"({number})")


def _id(prefix: str, kind: str, number: str) -> str:
    return f"'{prefix}' || substr(md5('{kind}' || {number}), 1, 17)"


def _digest(kind: str, number: str) -> str:
    return f"sha256(('{kind}' || {number})::bytea)"


def image_id_sql(number: str) -> str:
    """Give the SQL of an image's id."""
    return _id("e3v", "image", number)


def operation_id_sql(number: str) -> str:
    """Give the SQL of an operation's id."""
    return _id("e3o", "operation", number)


def _at(number: str, count: int) -> str:
    return f"now() at time zone 'utc' - {_PAST} * (1 - {number}::float / {count})"


def _iter_inserts(
    connection: psycopg.Connection[Any], shape: Shape, templates: Templates
) -> Iterator[tuple[str, sql.Composed]]:
    content = f"(1 + g % {shape.contents})"
    pack = f"(SELECT min(number) FROM packs) + 1 + g % {shape.packs}"  # noqa: S608  (a number)
    writer = f"({operation_id_sql('g')}) || '-1'"

    def clone(table: str, where: str, numbers: tuple[int, int], **columns: str) -> Any:
        return table, _clone(connection, table, where, numbers, columns)

    yield clone(
        "folders",
        f"id = '{templates.folder_id}'",
        (0, shape.folders - 1),
        id=_id("b1g", "folder", "g"),
        name="'folder-' || g",
    )
    yield clone(
        "manifests",
        "true",
        (1, shape.contents),
        digest=_digest("content", "g"),
        writer=writer,
        created_at=_at("g", shape.contents),
        storage_size="(1 + g % 64)::bigint << 26",
    )
    yield clone(
        "known_contents",
        "true",
        (1, shape.contents),
        location="'golden-' || g || '.qcow2'",
        manifest=_digest("content", "g"),
    )
    yield clone(
        "packs",
        "true",
        (1, shape.packs),
        number="(SELECT max(number) FROM packs) + g",
        id="'" + templates.copied + "/' || g || '-1'",
        dirty="false",
    )
    yield clone(
        "chunks",
        "true",
        (1, shape.packs * _CHUNKS_IN_PACK),
        digest=_digest("chunk", "g"),
        pack=pack,
        offset=f"g / {shape.packs} * 131072",
    )
    yield clone(
        "manifest_packs",
        "true",
        (0, shape.contents * _PACKS_OF_CONTENT - 1),
        manifest=_digest("content", f"(1 + g / {_PACKS_OF_CONTENT})"),
        pack=pack,
    )
    yield clone(
        "images",
        f"id = '{templates.image_id}'",
        (1, shape.images),
        id=image_id_sql("g"),
        folder_id=folder_sql("g", shape),
        name="'image-' || g",
        created_at=_at("g", shape.images),
        storage_size=f"({content} % 64 + 1)::bigint << 26",
        manifest=_digest("content", content),
    )
    yield from _iter_operations(clone, shape, templates)
    for table in _tables_of_workflows(connection, templates.copied):
        uuid = f"({operation_id_sql('g')}) || '-1'"
        where = f"workflow_uuid = '{templates.copied}-1'"
        yield clone(table, where, (1, shape.workflows), workflow_uuid=uuid)


def _iter_operations(clone: Any, shape: Shape, templates: Templates) -> Iterator[Any]:
    known_until = max(shape.images, shape.workflows)
    image = f"(1 + (hashint4(g)::bigint & 2147483647) % {shape.images})"
    for template, first, last in (
        (templates.copied, 1, shape.workflows),
        (templates.known, shape.workflows + 1, known_until),
        (templates.updated, known_until + 1, shape.operations),
    ):
        for start in range(first, last + 1, _BATCH):
            columns = {
                "id": operation_id_sql("g"),
                "resource_id": image_id_sql(image),
                "folder_id": folder_sql(image, shape),
                "created_at": _at("g", shape.operations),
                "modified_at": _at("g", shape.operations),
            }
            if template == templates.copied:
                columns["workflow_id"] = f"({operation_id_sql('g')}) || '-1'"
            numbers = (start, min(start + _BATCH - 1, last))
            yield clone("operations", f"id = '{template}'", numbers, **columns)
    yield clone(
        "idempotency_keys",
        "true",
        (1, shape.operations // 5),
        key="md5('key' || g)::uuid::text",
        operation_id=operation_id_sql("g * 5"),
        created_at=_at("g", shape.operations // 5),
    )


def _clone(
    connection: psycopg.Connection[Any],
    table: str,
    where: str,
    numbers: tuple[int, int],
    columns: Mapping[str, str],
) -> sql.Composed:
    """Insert a row of the template's for each number `g`, with these columns' values instead."""
    schema, _, name = table.rpartition(".")
    names = [
        row[0]
        for row in connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = %s"
            " AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
            (schema or "public", name),
        )
    ]
    values = [
        sql.SQL(columns[each]) if each in columns else sql.Identifier("template", each)
        for each in names
    ]
    one = sql.SQL("" if schema else "LIMIT 1")  # a workflow has several steps: all of them
    return sql.SQL(
        "INSERT INTO {table} ({names}) SELECT {values}"
        " FROM generate_series({first}, {last}) AS g,"
        " (SELECT * FROM {table} WHERE {where} {one}) AS template"
    ).format(
        table=sql.Identifier(*([schema] if schema else []), name),
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        values=sql.SQL(", ").join(values),
        first=numbers[0],
        last=numbers[1],
        where=sql.SQL(where),
        one=one,
    )


def _tables_of_workflows(connection: psycopg.Connection[Any], operation_id: str) -> list[str]:
    """Name the tables of the workflow engine in which the template's workflow has rows."""
    tables = connection.execute(
        "SELECT table_name FROM information_schema.columns"
        " WHERE table_schema = 'dbos' AND column_name = 'workflow_uuid' ORDER BY table_name"
    ).fetchall()
    return [
        f"dbos.{name}"
        for (name,) in tables
        if connection.execute(
            sql.SQL("SELECT 1 FROM {} WHERE workflow_uuid = %s LIMIT 1").format(
                sql.Identifier("dbos", name)
            ),
            (f"{operation_id}-1",),
        ).fetchone()
    ]
