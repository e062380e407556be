"""Puts the parts of a server together: what its interfaces are built on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from clouddesktop.api.rates import RateLimit
from clouddesktop.app.bootstrap import prepare_token_seed
from clouddesktop.app.foundation import Foundation
from clouddesktop.app.sources import make_uploads
from clouddesktop.audit import AuditLog
from clouddesktop.catalog.keys import find_key
from clouddesktop.config import Settings
from clouddesktop.copying.importing import ImportStarter
from clouddesktop.copying.start import CopyStarter
from clouddesktop.delivery.export import Exports
from clouddesktop.iam.access import Access
from clouddesktop.iam.tokens import TokenService
from clouddesktop.keeping.deletion import Deletions
from clouddesktop.keeping.runs import RunDesk
from clouddesktop.keeping.stats import StoreMeter
from clouddesktop.keeping.updating import Updates
from clouddesktop.source.uploads import Uploads


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the interfaces are built on, beside the foundation; valid inside `built`."""

    copies: CopyStarter
    imports: ImportStarter
    deletions: Deletions
    updates: Updates
    uploads: Uploads
    tokens: TokenService
    access: Access
    exports: Exports
    meter: StoreMeter
    desk: RunDesk
    audit_log: AuditLog
    rate_limit: RateLimit | None


@contextmanager
def built(foundation: Foundation, *, names: set[str], desk: RunDesk) -> Iterator[Parts]:
    """Build every part; `names` are the host names that a token's audience may have."""
    settings, folder, database = foundation.settings, foundation.folder, foundation.database
    uploads = make_uploads(settings, folder.uploads)
    with ExitStack() as stack:
        audit_log = AuditLog(
            folder.audit, most_bytes=settings.audit_size, most_files=settings.audit_files
        )
        stack.callback(audit_log.close)
        yield Parts(
            copies=CopyStarter(
                database=database, sources=foundation.sources, queue=foundation.queue
            ),
            imports=ImportStarter(
                database=database,
                sources=foundation.sources,
                uploads=uploads,
                queue=foundation.queue,
            ),
            deletions=Deletions(database=database, failpoint=foundation.failpoint),
            updates=Updates(database=database),
            uploads=uploads,
            tokens=_make_tokens(foundation, names),
            access=Access(database=database),
            exports=Exports(
                database=database, chunks=foundation.chunks, manifests=foundation.manifests
            ),
            meter=StoreMeter(database=database, manifests=foundation.manifests),
            desk=desk,
            audit_log=audit_log,
            rate_limit=_make_rate_limit(settings),
        )


def _make_tokens(foundation: Foundation, names: set[str]) -> TokenService:
    database = foundation.database
    return TokenService(
        signing_key=prepare_token_seed(foundation.folder, database),
        find_key=lambda key_id: database.read(find_key, key_id),
        audiences=names,
    )


def _make_rate_limit(settings: Settings) -> RateLimit | None:
    if not settings.rate_limit:
        return None
    return RateLimit(calls_per_second=settings.rate_limit, burst=settings.rate_burst)
