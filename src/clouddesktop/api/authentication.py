"""From an `authorization` header to a caller, the same for gRPC and HTTP."""

from __future__ import annotations

import structlog
from starlette.requests import Request

from clouddesktop.iam.access import Access, Caller
from clouddesktop.iam.errors import TokenMissingError
from clouddesktop.iam.oidc import OidcTokens
from clouddesktop.iam.tokens import PREFIX, TokenService
from clouddesktop.model.access import Subject

_SCHEME = "bearer"


class Callers:
    """Finds out who sent a request, and what it may do; `oidc` is for tokens of other issuers."""

    def __init__(
        self, *, tokens: TokenService, access: Access, oidc: OidcTokens | None = None
    ) -> None:
        self._tokens = tokens
        self._access = access
        self._oidc = oidc

    async def find_sender(self, request: Request) -> Caller:
        """Say who sent a request to one of our own paths, and note it for the logs.

        Raises:
            CloudDesktopError: as `find` does.
        """
        caller = await self.find(request.headers.get("authorization"))
        structlog.contextvars.bind_contextvars(subject=caller.id)
        request.scope["caller"] = caller
        return caller

    async def find(self, authorization: str | None, *, folder_id: str = "") -> Caller:
        """Say who sent this header, with a request about this folder.

        Raises:
            UnauthenticatedError: nobody that we know; the subclass tells why.
            IssuerUnavailableError: the token's issuer cannot be asked who it is.
        """
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != _SCHEME or not token:
            raise TokenMissingError(
                "The request carries no IAM token.",
                remedy="Send one as `authorization: Bearer <token>`; IamTokenService.Create issues"
                " it.",
            )
        return await self._access.find_caller(await self._check(token), folder_id=folder_id)

    async def _check(self, token: str) -> Subject:
        if self._oidc is None or token.startswith(PREFIX):
            return await self._tokens.acheck_token(token)
        return await self._oidc.check_token(token)
