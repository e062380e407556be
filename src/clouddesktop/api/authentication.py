"""From an `authorization` header to a caller, the same for gRPC and HTTP."""

from __future__ import annotations

import structlog
from starlette.requests import Request

from clouddesktop.iam.access import Access, Caller
from clouddesktop.iam.errors import TokenMissingError
from clouddesktop.iam.tokens import TokenService

_SCHEME = "bearer"


class Callers:
    """Finds out who sent a request, and what it may do."""

    def __init__(self, *, tokens: TokenService, access: Access) -> None:
        self._tokens = tokens
        self._access = access

    async def find_sender(self, request: Request) -> Caller:
        """Say who sent a request to one of our own paths, and note it for the logs.

        Raises:
            UnauthenticatedError: as `find` does.
        """
        caller = await self.find(request.headers.get("authorization"))
        structlog.contextvars.bind_contextvars(subject=caller.id)
        request.scope["caller"] = caller
        return caller

    async def find(self, authorization: str | None) -> Caller:
        """Say who sent this header.

        Raises:
            UnauthenticatedError: nobody that we know; the subclass tells why.
        """
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != _SCHEME or not token:
            raise TokenMissingError(
                "The request carries no IAM token.",
                remedy="Send one as `authorization: Bearer <token>`; IamTokenService.Create issues"
                " it.",
            )
        return await self._access.find_caller(self._tokens.check_token(token))
