"""Why a caller was not taken for who it says it is."""

from __future__ import annotations

from clouddesktop.errors import UnauthenticatedError


class JwtRefusedError(UnauthenticatedError):
    """The JWT does not prove that its sender holds an authorised key."""

    reason = "JWT_REFUSED"


class TokenMissingError(UnauthenticatedError):
    """The request carries no token."""

    reason = "TOKEN_MISSING"


class TokenInvalidError(UnauthenticatedError):
    """The token was not issued by this server, nor by an issuer it trusts, or not for it."""

    reason = "TOKEN_INVALID"


class TokenRevokedError(UnauthenticatedError):
    """The key that the IAM token was issued for is revoked, or its account deleted."""

    reason = "TOKEN_REVOKED"


class TokenExpiredError(UnauthenticatedError):
    """The token's time is over."""

    reason = "TOKEN_EXPIRED"
