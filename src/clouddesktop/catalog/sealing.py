"""Queries of a copy that seals its content: the manifest and the packs that it relies on."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from clouddesktop.catalog.copies import CopyRun, rely_on, update_run
from clouddesktop.catalog.tables import manifest_packs, manifests, operation_packs
from clouddesktop.ids import Digest
from clouddesktop.model.operation import Phase


def record_manifest(
    connection: sa.Connection,
    run: CopyRun,
    *,
    manifest: Digest,
    writer: str,
    disk_size: int,
    storage_size: int,
) -> str:
    """Record a sealed content whose manifest is durable in the store; may be repeated.

    Until the copy is done the content is not collected, though no image has it yet.

    Returns:
        The writer of the blob that counts from now on: an earlier copy's, if the content was known.
    """
    update_run(connection, run, phase=str(Phase.PUBLISHING), manifest=manifest)
    connection.execute(
        postgresql.insert(manifests)
        .values(
            digest=manifest,
            writer=writer,
            disk_size=disk_size,
            storage_size=storage_size,
            created_at=datetime.now(tz=UTC),
        )
        # The copy has seen each of its chunks in the index: it lacks nothing that it lacked before.
        .on_conflict_do_update(index_elements=["digest"], set_={"damage": None})
    )
    relied_on = connection.scalars(
        sa.select(operation_packs.c.pack).where(operation_packs.c.operation_id == run.operation_id)
    )
    rely_on(connection, manifest_packs, "manifest", manifest, set(relied_on))
    counts: str = connection.execute(
        sa.select(manifests.c.writer).where(manifests.c.digest == manifest)
    ).scalar_one()
    return counts


def replace_manifest_blob(
    connection: sa.Connection, run: CopyRun, *, manifest: Digest, writer: str
) -> None:
    """Let this copy's blob of a content count, since the one that did is damaged."""
    update_run(connection, run)
    connection.execute(
        sa.update(manifests).where(manifests.c.digest == manifest).values(writer=writer)
    )
