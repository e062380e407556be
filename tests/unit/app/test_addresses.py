"""HOST:PORT settings and the names of a server."""

from __future__ import annotations

import pytest

from clouddesktop.app.addresses import Address, own_names
from clouddesktop.errors import InvalidArgumentError, UnavailableError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:8080", "::1", 8080),
        ("desk.example:443", "desk.example", 443),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, host: str, port: int) -> None:
    """Brackets belong to IPv6 alone."""
    address = Address.parse("grpc", text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "host", ":80", "host:", "host:port", "host:65536", "host:-1"])
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    """The error names the setting and a form that works."""
    with pytest.raises(InvalidArgumentError, match="setting http") as caught:
        Address.parse("http", text)
    assert "--http" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.9:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("0.0.0.0:1", False),
        ("10.0.0.1:1", False),
    ],
)
def test_loopback_is_told_from_the_rest(text: str, *, loopback: bool) -> None:
    """Plaintext depends on it."""
    assert Address.parse("grpc", text).is_loopback is loopback


def test_a_server_on_all_hosts_is_reached_by_its_name() -> None:
    """Nobody can dial 0.0.0.0."""
    address = Address.parse("grpc", "0.0.0.0:50051")  # nothing is opened
    assert address.reached_as(50051, names=["desk.example"]) == "desk.example:50051"
    assert address.host not in own_names(address)
    assert "desk.example" in own_names(address, further=["desk.example"])


def test_a_taken_address_is_named() -> None:
    """The error says which address and what to do."""
    with Address.parse("http", "127.0.0.1:0").listen() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}"):
            Address.parse("http", f"127.0.0.1:{port}").listen()
