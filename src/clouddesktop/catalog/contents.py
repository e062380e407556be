"""Contents that the store holds whole, known by the file that they were copied from."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from clouddesktop.catalog.prepared import Prepared
from clouddesktop.catalog.tables import known_contents, manifests
from clouddesktop.ids import Digest, to_digest
from clouddesktop.model.checksum import Checksum
from clouddesktop.model.image import ComputeImage

_OF_FILE = (
    sa.select(manifests.c.digest, manifests.c.disk_size, manifests.c.storage_size)
    .join(known_contents, known_contents.c.manifest == manifests.c.digest)
    .where(
        known_contents.c.source == sa.bindparam("source"),
        known_contents.c.location == sa.bindparam("location"),
        known_contents.c.fingerprint == sa.bindparam("fingerprint"),
        manifests.c.damage.is_(None),
    )
)
_FIND = Prepared(_OF_FILE)
_FIND_VERIFIED = Prepared(_OF_FILE.where(known_contents.c.checksum == sa.bindparam("checksum")))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownContent:
    """A content that the store holds whole. Sizes are bytes."""

    manifest: Digest
    disk_size: int
    storage_size: int


def find_known_content(
    connection: sa.Connection,
    *,
    compute_image: ComputeImage,
    fingerprint: str,
    checksum: Checksum | None = None,
) -> KnownContent | None:
    """Find the content of a source's file that has not changed since it was last copied.

    With a checksum only one that was found to have it.
    One that is damaged does not count: copying it again is what repairs it.
    """
    file = {
        "source": compute_image.source,
        "location": compute_image.location,
        "fingerprint": fingerprint,
    }
    row = (
        _FIND.first(connection, **file)
        if checksum is None
        else _FIND_VERIFIED.first(connection, **file, checksum=checksum.to_text())
    )
    if row is None:
        return None
    return KnownContent(
        manifest=to_digest(row.digest), disk_size=row.disk_size, storage_size=row.storage_size
    )


def remember_content(
    connection: sa.Connection,
    *,
    compute_image: ComputeImage,
    fingerprint: str,
    manifest: Digest,
    checksum: Checksum | None = None,
) -> None:
    """Note that a source's file, as long as it has this fingerprint, holds this content.

    `checksum` is what the file was found to have, if that was looked at.
    """
    verified = None if checksum is None else checksum.to_text()
    statement = postgresql.insert(known_contents).values(
        source=compute_image.source,
        location=compute_image.location,
        fingerprint=fingerprint,
        manifest=manifest,
        checksum=verified,
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["source", "location"],
            set_={"fingerprint": fingerprint, "manifest": manifest, "checksum": verified},
        )
    )
