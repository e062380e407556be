"""From an `authorization` header to a subject, the same for gRPC and HTTP."""

from __future__ import annotations

from clouddesktop.iam.errors import TokenMissingError
from clouddesktop.iam.tokens import TokenService
from clouddesktop.model.access import Subject

_SCHEME = "bearer"


def authenticate(tokens: TokenService, authorization: str | None) -> Subject:
    """Say who sent this header.

    Raises:
        UnauthenticatedError: nobody that we know; the subclass tells why.
    """
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != _SCHEME or not token:
        raise TokenMissingError(
            "The request carries no IAM token.",
            remedy="Send one as `authorization: Bearer <token>`; IamTokenService.Create issues it.",
        )
    return tokens.check_token(token)
