"""Queries that tell blobs of the store which the catalogue knows from those it does not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from clouddesktop.catalog.tables import keeper_runs, manifests, operations, packs
from clouddesktop.ids import Digest, PackId
from clouddesktop.model.keeping import RunState


class Writer(NamedTuple):
    """Who may have written a blob: a copy, or a run of the keeper, and whether it has ended."""

    is_keeper: bool
    is_active: bool
    epoch: int


def find_known_packs(connection: sa.Connection, pack_ids: Sequence[PackId]) -> set[PackId]:
    """Pick out the packs that are in the index."""
    query = sa.select(packs.c.id).where(packs.c.id.in_(pack_ids))
    return {PackId(each) for each in connection.scalars(query)}


def find_known_manifests(connection: sa.Connection, digests: Sequence[Digest]) -> dict[Digest, str]:
    """Map the contents that the catalogue knows to the writers of the blobs that count."""
    query = sa.select(manifests.c.digest, manifests.c.writer)
    rows = connection.execute(query.where(manifests.c.digest.in_(digests)))
    return {Digest(row.digest): row.writer for row in rows}


def find_writers(connection: sa.Connection, owners: Collection[str]) -> dict[str, Writer]:
    """Look up the operations and the keeper's runs with these ids; others are left out."""
    found = {
        row.id: Writer(is_keeper=False, is_active=not row.done, epoch=row.epoch)
        for row in connection.execute(
            sa.select(operations.c.id, operations.c.done, operations.c.epoch).where(
                operations.c.id.in_(owners)
            )
        )
    }
    for row in connection.execute(
        sa.select(keeper_runs.c.id, keeper_runs.c.state, keeper_runs.c.epoch).where(
            keeper_runs.c.id.in_(owners)
        )
    ):
        is_active = RunState(row.state).is_active
        found[row.id] = Writer(is_keeper=True, is_active=is_active, epoch=row.epoch)
    return found
