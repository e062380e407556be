"""Queries of a collection: what nobody needs, and removing it.

A content is *held* by an image that has it, and by a running copy that has sealed it. Others are
dead. A pack is needed by the contents that list it (`manifest_packs`), and *pinned* by running
copies (`operation_packs`). A pack that is not needed at all is dirty, always: it is so at birth,
and again when a content that lists it is removed.

Queries with `foreseen` look at the catalogue as it will be once the dead contents are gone: that is
what a dry run needs. Whatever removes something looks again, in its own transaction, whether it
still may.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from clouddesktop.catalog.tables import (
    chunks,
    compute_images,
    images,
    known_contents,
    manifest_packs,
    manifests,
    operation_packs,
    operations,
    packs,
)
from clouddesktop.ids import Digest, PackId
from clouddesktop.store.packs import PackEntry

_BATCH = 500


class Content(NamedTuple):
    """A sealed content: its manifest, who wrote the manifest's blob, its stored size in bytes."""

    manifest: Digest
    writer: str
    storage_size: int


class Pack(NamedTuple):
    """A pack in the index; `size` is that of its blob in bytes."""

    number: int
    id: PackId
    size: int


class Judgement(NamedTuple):
    """What was found in a pack: the chunks that some content has, and those that none has."""

    pack: Pack
    live: Sequence[Digest]
    dead: Sequence[Digest]


def list_dead_contents(
    connection: sa.Connection, *, limit: int, after: bytes = b""
) -> list[Content]:
    """List contents that nothing holds, by their digests, those after `after`."""
    rows = connection.execute(
        sa.select(manifests.c.digest, manifests.c.writer, manifests.c.storage_size)
        .where(manifests.c.digest > after, ~is_held(manifests.c.digest))
        .order_by(manifests.c.digest)
        .limit(limit)
    )
    return [Content(Digest(row.digest), row.writer, row.storage_size) for row in rows]


def remove_contents(connection: sa.Connection, digests: Sequence[Digest]) -> list[Content]:
    """Remove those of the contents that nothing holds; delete their manifests' blobs afterwards."""
    rows = connection.execute(
        sa.select(manifests.c.digest, manifests.c.writer, manifests.c.storage_size).where(
            manifests.c.digest.in_(digests), ~is_held(manifests.c.digest)
        )
    )
    dead = [Content(Digest(row.digest), row.writer, row.storage_size) for row in rows]
    names = [each.manifest for each in dead]
    listed = sa.select(manifest_packs.c.pack).where(manifest_packs.c.manifest.in_(names))
    connection.execute(sa.update(packs).where(packs.c.number.in_(listed)).values(dirty=True))
    for table in (known_contents, manifest_packs):
        connection.execute(sa.delete(table).where(table.c.manifest.in_(names)))
    connection.execute(sa.delete(manifests).where(manifests.c.digest.in_(names)))
    return dead


def list_unneeded_packs(
    connection: sa.Connection, *, limit: int, after: int = 0, foreseen: bool = False
) -> list[Pack]:
    """List packs that no content lists and no copy pins, by their numbers, those after `after`."""
    query = _packs_after(after, limit).where(~_is_listed(foreseen=foreseen), ~_is_pinned())
    if not foreseen:
        query = query.where(packs.c.dirty)
    return _to_packs(connection.execute(query))


def remove_packs(connection: sa.Connection, numbers: Sequence[int]) -> list[Pack]:
    """Remove those of the packs that are still not needed; delete their blobs afterwards."""
    gone = _to_packs(
        connection.execute(
            sa.select(packs.c.number, packs.c.id, packs.c.size).where(
                packs.c.number.in_(numbers), ~_is_listed(foreseen=False), ~_is_pinned()
            )
        )
    )
    _forget_packs(connection, [each.number for each in gone])
    return gone


def count_dirty_packs(connection: sa.Connection, *, foreseen: bool = False) -> int:
    """Count the packs that are needed or pinned, and may hold dead chunks."""
    query = sa.select(sa.func.count()).select_from(packs)
    is_used = sa.or_(_is_listed(foreseen=foreseen), _is_pinned())
    return connection.scalar(query.where(_is_dirty(foreseen=foreseen), is_used)) or 0


def list_dirty_packs(
    connection: sa.Connection, *, limit: int, after: int = 0, foreseen: bool = False
) -> list[Pack]:
    """List packs that are needed, not pinned, and may hold dead chunks, by their numbers.

    Damaged ones are left to the scrub, which may find a backup of them in their place.
    """
    query = _packs_after(after, limit).where(
        _is_dirty(foreseen=foreseen),
        _is_listed(foreseen=foreseen),
        ~_is_pinned(),
        packs.c.damage.is_(None),
    )
    return _to_packs(connection.execute(query))


def list_packs(connection: sa.Connection, *, limit: int, after: int = 0) -> list[Pack]:
    """List all packs by their numbers, those after `after`."""
    return _to_packs(connection.execute(_packs_after(after, limit)))


def list_pinned_packs(connection: sa.Connection, numbers: Sequence[int]) -> set[int]:
    """Pick out the packs that running copies rely on."""
    query = sa.select(operation_packs.c.pack).where(operation_packs.c.pack.in_(numbers))
    return set(connection.scalars(query))


def load_chunks(
    connection: sa.Connection, numbers: Sequence[int]
) -> dict[Digest, tuple[int, int, int]]:
    """Map the chunks of these packs to the number of their pack, their stored and plain size."""
    return {
        Digest(row.digest): (row.pack, row.stored_size, row.plain_size)
        for batch in _batches(numbers)
        for row in connection.execute(
            sa.select(
                chunks.c.digest, chunks.c.pack, chunks.c.stored_size, chunks.c.plain_size
            ).where(chunks.c.pack.in_(batch))
        )
    }


def list_contents_of_pack(
    connection: sa.Connection, number: int, *, held_only: bool = False
) -> list[Digest]:
    """List the contents that need a pack; those that are held, if so asked."""
    query = sa.select(manifest_packs.c.manifest).where(manifest_packs.c.pack == number)
    if held_only:
        query = query.where(is_held(manifest_packs.c.manifest))
    return [Digest(each) for each in connection.scalars(query)]


def drop_dead_chunks(
    connection: sa.Connection,
    judgements: Sequence[Judgement],
    *,
    examined: Collection[Digest],
) -> list[Judgement]:
    """Remove dead chunks from the index, and call their packs clean.

    The judgements were found by looking at the contents `examined` and no others.

    Returns:
        The judgements that were carried out: others are of packs that somebody came to need since.
    """
    valid = [each for each in judgements if _still_holds(connection, each, examined)]
    for each in valid:
        _delete_chunks(connection, each)
    numbers = [each.pack.number for each in valid]
    connection.execute(sa.update(packs).where(packs.c.number.in_(numbers)).values(dirty=False))
    return valid


def replace_packs(
    connection: sa.Connection,
    judgements: Sequence[Judgement],
    *,
    examined: Collection[Digest],
    run_id: str,
    pack_id: PackId,
    size: int,
    entries: Sequence[PackEntry],
) -> list[Judgement]:
    """Let a new pack, durable in the store, stand for packs of which few chunks are live.

    The judgements were found by looking at the contents `examined` and no others. The new pack,
    written by the run `run_id`, holds every live chunk of the old ones; without entries there is no
    new pack, for nothing was live.

    Returns:
        The judgements that were carried out; delete the blobs of their packs afterwards. When there
        are none, the new pack is not in the index, and its blob is to be deleted.
    """
    valid = [each for each in judgements if _still_holds(connection, each, examined)]
    if not valid:
        return []
    old = [each.pack.number for each in valid]
    if entries:
        new: int = connection.execute(
            sa.insert(packs)
            # Chunks of packs that are not replaced are dead weight in it: to be looked at again.
            .values(
                id=pack_id,
                operation_id=run_id,
                size=size,
                dirty=len(valid) < len(judgements),
            )
            .returning(packs.c.number)
        ).scalar_one()
        places = {each.digest: each for each in entries}
        for each in valid:
            moved = [places[digest] for digest in each.live if digest in places]
            _move_chunks(connection, moved, old=each.pack.number, new=new)
        needed_by = sa.select(manifest_packs.c.manifest, sa.literal(new)).where(
            manifest_packs.c.pack.in_(old)
        )
        connection.execute(
            sa.insert(manifest_packs).from_select(["manifest", "pack"], needed_by.distinct())
        )
    for each in valid:
        _delete_chunks(connection, each)
    connection.execute(sa.delete(manifest_packs).where(manifest_packs.c.pack.in_(old)))
    # Had a pack a chunk that was not judged, the foreign key would refuse this, and undo it all.
    connection.execute(sa.delete(packs).where(packs.c.number.in_(old)))
    return valid


def _move_chunks(
    connection: sa.Connection, entries: Sequence[PackEntry], *, old: int, new: int
) -> None:
    if entries:
        connection.execute(
            sa.update(chunks)
            .where(chunks.c.digest == sa.bindparam("moved"), chunks.c.pack == old)
            .values(
                pack=new,
                codec=sa.bindparam("new_codec"),
                offset=sa.bindparam("new_offset"),
                stored_size=sa.bindparam("new_size"),
            ),
            [
                {
                    "moved": entry.digest,
                    "new_codec": int(entry.codec),
                    "new_offset": entry.offset,
                    "new_size": entry.stored_size,
                }
                for entry in entries
            ],
        )


def _still_holds(
    connection: sa.Connection, judgement: Judgement, examined: Collection[Digest]
) -> bool:
    """See that a judgement is as good as when it was made.

    A chunk can have come to life since in one way only: a copy has shared it. Then that copy pins
    the pack, or has been published, and its content lists it. Contents that have gone since only
    make more chunks dead. Where all chunks were found live, other contents change nothing.
    """
    pack = judgement.pack
    is_there = connection.scalar(
        sa.select(sa.literal(value=True)).where(
            packs.c.number == pack.number, packs.c.id == pack.id, ~_is_pinned()
        )
    )
    return bool(is_there) and (
        not judgement.dead
        or all(each in examined for each in list_contents_of_pack(connection, pack.number))
    )


def _delete_chunks(connection: sa.Connection, judgement: Judgement) -> None:
    for batch in _batches(judgement.dead):
        connection.execute(
            sa.delete(chunks).where(
                chunks.c.digest.in_(batch), chunks.c.pack == judgement.pack.number
            )
        )


def _forget_packs(connection: sa.Connection, numbers: Sequence[int]) -> None:
    connection.execute(sa.delete(chunks).where(chunks.c.pack.in_(numbers)))
    connection.execute(sa.delete(packs).where(packs.c.number.in_(numbers)))


def is_held(manifest: sa.ColumnElement[bytes]) -> sa.ColumnElement[bool]:
    """Tell the contents that an image has, or that a running copy has sealed."""
    sealed = sa.select(operations.c.manifest).where(
        operations.c.done.is_(False), operations.c.manifest.is_not(None)
    )
    return sa.or_(
        sa.exists().where(images.c.manifest == manifest),
        sa.exists().where(compute_images.c.manifest == manifest),
        manifest.in_(sealed),
    )


def _is_listed(*, foreseen: bool) -> sa.ColumnElement[bool]:
    listing = sa.exists().where(manifest_packs.c.pack == packs.c.number)
    return listing.where(is_held(manifest_packs.c.manifest)) if foreseen else listing


def _is_pinned() -> sa.ColumnElement[bool]:
    return sa.exists().where(operation_packs.c.pack == packs.c.number)


def _is_dirty(*, foreseen: bool) -> sa.ColumnElement[bool]:
    if not foreseen:
        return packs.c.dirty
    losing = sa.exists().where(
        manifest_packs.c.pack == packs.c.number, ~is_held(manifest_packs.c.manifest)
    )
    return sa.or_(packs.c.dirty, losing)


def _packs_after(number: int, limit: int) -> sa.Select[Any]:
    return (
        sa.select(packs.c.number, packs.c.id, packs.c.size)
        .where(packs.c.number > number)
        .order_by(packs.c.number)
        .limit(limit)
    )


def _to_packs(rows: sa.Result[Any]) -> list[Pack]:
    return [Pack(row.number, PackId(row.id), row.size) for row in rows]


def _batches(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]
