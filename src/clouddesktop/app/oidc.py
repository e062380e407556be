"""The issuers of OpenID Connect tokens that the settings name."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from clouddesktop.config import Settings
from clouddesktop.errors import InvalidArgumentError
from clouddesktop.iam.discovery import fetch_keys, is_loopback
from clouddesktop.iam.issuer_keys import IssuerKeys
from clouddesktop.iam.oidc import ALGORITHMS, Issuer, OidcTokens
from clouddesktop.model.federation import is_issuer_name


def make_oidc(settings: Settings) -> OidcTokens | None:
    """Make what checks tokens of other issuers; None when the settings name none.

    No issuer is asked for anything before the first token of its comes.

    Raises:
        InvalidArgumentError: a setting is not understood; names it.
    """
    for setting in ("oidc_audience", "oidc_claim"):
        for name in getattr(settings, setting):
            if name not in settings.oidc_issuer:
                raise _refused(
                    setting,
                    f"names the issuer {name!r}, which is none",
                    remedy="Name issuers as --oidc-issuer does.",
                )
    if not settings.oidc_issuer:
        return None
    urls = list(settings.oidc_issuer.values())
    for name, url in settings.oidc_issuer.items():
        _check_name(name)
        _check_url(name, url)
        if urls.count(url) > 1:
            raise _refused(
                "oidc_issuer",
                f"names {url} twice",
                remedy="Give it one name: its subjects' ids begin with that.",
            )
    context = _make_context(settings.oidc_ca)
    return OidcTokens(
        issuers=[_make_issuer(settings, name, context) for name in settings.oidc_issuer],
        algorithms=settings.oidc_algorithms or ALGORITHMS,
        skew_seconds=settings.oidc_clock_skew,
    )


def _make_issuer(settings: Settings, name: str, context: ssl.SSLContext) -> Issuer:
    url = settings.oidc_issuer[name]
    audiences = settings.oidc_audience.get(name, ())
    if not all(audiences) or not audiences:
        raise _refused(
            "oidc_audience",
            f"has no audience for the issuer {name!r}",
            remedy=f"Pass --oidc-audience {name}=AUDIENCE: the client id, or the name, that this "
            "server has at the issuer. Without it, tokens for other services would be good here.",
        )
    claim = settings.oidc_claim.get(name, "sub")
    if not claim:
        raise _refused(
            "oidc_claim",
            f"has no claim for the issuer {name!r}",
            remedy="Leave it out for the claim `sub`, or name one, such as email.",
        )
    return Issuer(
        name=name,
        url=url,
        audiences=frozenset(audiences),
        keys=IssuerKeys(issuer_url=url, fetch=partial(fetch_keys, url, context=context)),
        claim=claim,
    )


def _check_name(name: str) -> None:
    if not is_issuer_name(name):
        raise _refused(
            "oidc_issuer",
            f"has the name {name!r}",
            remedy="Use up to 20 lower-case letters, digits and hyphens, beginning with a letter.",
        )


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = (
            parts.scheme in ("https", "http")
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.query or parts.fragment or "@" in parts.netloc)
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        is_good = False
    if not is_good:
        raise _refused(
            "oidc_issuer",
            f"has for {name} a URL that is none of an issuer: {url}",
            remedy="Write the issuer as its tokens do in `iss`: https://HOST/PATH, without user "
            "name, query and fragment.",
        )
    if urlsplit(url).scheme == "http" and not is_loopback(url):
        raise _refused(
            "oidc_issuer",
            f"has for {name} a URL without TLS: {url}",
            remedy="Use https: over http anybody on the way could say who is who. Only an issuer "
            "on this machine may be of http.",
        )


def _make_context(ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise _refused(
                "oidc_ca",
                f"names {ca}, which cannot be used: {error.strerror or error}",
                remedy="Name a file with certificates of authorities in PEM form.",
            ) from error
    return context


def _refused(setting: str, what: str, *, remedy: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"The setting {setting} {what}.", remedy=remedy)
