"""Profiles: what a file may say, and how its faults are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from clouddesktop.client import Profile, ProfileError


def test_relative_paths_count_from_the_profile(tmp_path: Path) -> None:
    """A data folder may be moved or mounted elsewhere with its profile."""
    path = tmp_path / "profile.yaml"
    path.write_text(
        "endpoint: host:1\nca: tls/ca.pem\nkey: /keys/admin.json\ntoken_file: t\nlater: {}\n"
    )
    profile = Profile.load(path)
    assert profile.ca == tmp_path / "tls/ca.pem"
    assert profile.key == Path("/keys/admin.json")
    assert profile.token_file == tmp_path / "t"
    assert profile.endpoint == "host:1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no key `endpoint`"),
        ("- endpoint", "no key `endpoint`"),
        ("endpoint: [1]", "no key `endpoint`"),
        ("endpoint: a:1\nca: 7", "`ca`"),
        ("endpoint: {", "no YAML"),
        ("endpoint: !!python/object:os.system {}", "no YAML"),
    ],
)
def test_a_broken_profile_is_named(tmp_path: Path, text: str, said: str) -> None:
    """Every fault names the file and says what to do."""
    path = tmp_path / "profile.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        Profile.load(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.remedy


def test_a_missing_profile_is_named(tmp_path: Path) -> None:
    """The way out is the server's own profile."""
    with pytest.raises(ProfileError, match="does not exist"):
        Profile.load(tmp_path / "none.yaml")


def test_missing_ca_is_named(tmp_path: Path) -> None:
    """A path inside the profile that leads nowhere is told as such."""
    with pytest.raises(ProfileError, match=r"ca\.pem"):
        Profile(endpoint="a:1", ca=tmp_path / "ca.pem").read_ca()


def test_a_ca_without_certificate_is_named(tmp_path: Path) -> None:
    """A file that is no PEM is not trusted silently."""
    ca = tmp_path / "ca.pem"
    ca.write_text("no certificate")
    with pytest.raises(ProfileError, match="no certificate"):
        Profile(endpoint="a:1", ca=ca).make_ssl_context()


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("127.0.0.1:50051", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("10.0.0.1:1", False),
        ("images.example:1", False),
        ("", False),
    ],
)
def test_loopback_is_seen(endpoint: str, *, expected: bool) -> None:
    """Proxies are left out for this machine only."""
    assert Profile(endpoint=endpoint).is_loopback is expected


def test_plaintext_needs_an_http_address_and_no_ca() -> None:
    """TLS is never dropped because a key is missing."""
    assert Profile(endpoint="a:1", rest="http://a:2").is_plaintext
    assert not Profile(endpoint="a:1", rest="https://a:2").is_plaintext
    assert not Profile(endpoint="a:1").is_plaintext
    assert not Profile(endpoint="a:1", rest="http://a:2", ca=Path("ca")).is_plaintext
