"""The settings of issuers: what is taken, and what is refused at the start with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clouddesktop.app.oidc import make_oidc
from clouddesktop.config import load_settings
from clouddesktop.errors import InvalidArgumentError

CORP = {"oidc_issuer": ["corp=https://sso.example.org/realms/corp"]}
GOOD: dict[str, Any] = {**CORP, "oidc_audience": ["corp=clouddesktop"]}


def test_without_issuers_there_is_nothing() -> None:
    """Only the server's own tokens are taken then."""
    assert make_oidc(load_settings()) is None


def test_nobody_is_asked_at_the_start() -> None:
    """The issuer does not even exist."""
    assert make_oidc(load_settings(**GOOD)) is not None
    assert make_oidc(load_settings(**GOOD, oidc_algorithms=("ES256",), oidc_clock_skew=0.0))
    loopback = {"oidc_issuer": ["dev=http://127.0.0.1:1"], "oidc_audience": ["dev=x"]}
    assert make_oidc(load_settings(**loopback))


def test_a_file_has_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An audience or several; the variables have names and values."""
    file = tmp_path / "settings.toml"
    file.write_text(
        """
        [oidc_issuer]
        corp = "https://sso.example.org"
        ci = "https://ci.example.org"
        [oidc_audience]
        corp = ["clouddesktop", "cli"]
        ci = "https://images.example.org"
        [oidc_claim]
        corp = "email"
        """
    )
    settings = load_settings(config=file)
    audiences = {"corp": ("clouddesktop", "cli"), "ci": ("https://images.example.org",)}
    assert settings.oidc_audience == audiences
    assert settings.oidc_claim == {"corp": "email"}
    assert make_oidc(settings)
    monkeypatch.setenv("CLOUDDESKTOP_OIDC_AUDIENCE", "a=x b=y=z a=w")
    monkeypatch.setenv("CLOUDDESKTOP_OIDC_ISSUER", "a=https://a b=https://b")
    settings = load_settings()
    assert settings.oidc_audience == {"a": ("x", "w"), "b": ("y=z",)}
    assert settings.oidc_issuer == {"a": "https://a", "b": "https://b"}


def with_url(url: str) -> dict[str, Any]:
    return {**GOOD, "oidc_issuer": {"corp": url}}


@pytest.mark.parametrize(
    ("setting", "options"),
    [
        ("oidc_issuer", {"oidc_issuer": ["https://sso.example.org"], "oidc_audience": ["a=b"]}),
        ("oidc_issuer", {"oidc_issuer": ["Corp=https://a"], "oidc_audience": ["Corp=b"]}),
        ("oidc_issuer", {"oidc_issuer": ["a=https://a", "a=https://b"]}),
        (
            "oidc_issuer",
            {"oidc_issuer": ["a=https://a", "b=https://a"], "oidc_audience": ["a=x", "b=x"]},
        ),
        ("oidc_issuer", with_url("http://sso.example.org")),
        ("oidc_issuer", with_url("http://localhost.example.org")),
        ("oidc_issuer", with_url("ftp://sso.example.org")),
        ("oidc_issuer", with_url("sso.example.org")),
        ("oidc_issuer", with_url("https://")),
        ("oidc_issuer", with_url("https://[::1")),
        ("oidc_issuer", with_url("https://sso.example.org:port")),
        ("oidc_issuer", with_url("https://me@sso.example.org")),
        ("oidc_issuer", with_url("https://sso.example.org/?a=b")),
        ("oidc_issuer", with_url("https://sso.example.org/#a")),
        ("oidc_issuer", with_url("https://sso.example.org/ a")),
        ("oidc_audience", CORP),
        ("oidc_audience", {**GOOD, "oidc_audience": {"corp": []}}),
        ("oidc_audience", {**GOOD, "oidc_audience": {"corp": ["", "x"]}}),
        ("oidc_audience", {**GOOD, "oidc_audience": ["clouddesktop"]}),
        ("oidc_audience", {"oidc_audience": ["corp=clouddesktop"]}),
        ("oidc_claim", {**GOOD, "oidc_claim": ["cprp=email"]}),
        ("oidc_claim", {**GOOD, "oidc_claim": {"corp": ""}}),
        ("oidc_algorithms", {**GOOD, "oidc_algorithms": ("HS256",)}),
        ("oidc_algorithms", {**GOOD, "oidc_algorithms": ("none",)}),
        ("oidc_clock_skew", {**GOOD, "oidc_clock_skew": -1.0}),
        ("oidc_clock_skew", {**GOOD, "oidc_clock_skew": 86400.0}),
        ("oidc_ca", {**GOOD, "oidc_ca": Path("/nowhere.pem")}),
        ("oidc_ca", {**GOOD, "oidc_ca": Path(__file__)}),
    ],
)
def test_what_is_not_understood_is_named(setting: str, options: dict[str, Any]) -> None:
    """The setting, and a way out."""
    with pytest.raises(InvalidArgumentError, match=setting) as caught:
        make_oidc(load_settings(**options))
    assert caught.value.remedy
