"""What the API is built on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clouddesktop.api.auditing import Auditing
from clouddesktop.api.rates import RateLimit
from clouddesktop.catalog.engine import Database
from clouddesktop.copying.importing import ImportStarter
from clouddesktop.copying.start import CopyStarter
from clouddesktop.iam.access import Access
from clouddesktop.iam.accounts import Accounts
from clouddesktop.iam.bindings import Bindings
from clouddesktop.iam.folders import Folders
from clouddesktop.iam.oidc import OidcTokens
from clouddesktop.iam.tokens import TokenService
from clouddesktop.keeping.compute_images import ComputeImages
from clouddesktop.keeping.deletion import Deletions
from clouddesktop.keeping.updating import Updates
from clouddesktop.source.catalogue import SourceCatalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """`advertised` gives HOST:PORT at which clients reach this server, empty while it starts.

    Without `auditing` nothing is written to an audit log, without `rate_limit` no call is one too
    many, without `oidc` only our own tokens are taken.
    """

    database: Database
    copies: CopyStarter
    deletions: Deletions
    updates: Updates
    tokens: TokenService
    access: Access
    accounts: Accounts
    folders: Folders
    sources: SourceCatalogue
    imports: ImportStarter
    compute_images: ComputeImages
    bindings: Bindings
    advertised: Callable[[], str]
    auditing: Auditing | None = None
    rate_limit: RateLimit | None = None
    oidc: OidcTokens | None = None
