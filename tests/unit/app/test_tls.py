"""The server's certificates."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest

from clouddesktop.app.tls import TlsFiles, prepare_tls

NAMES = {"localhost", "127.0.0.1", "::1", "desk.example"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_client_that_trusts_the_authority_trusts_the_server(tmp_path: Path, name: str) -> None:
    """A handshake succeeds under every name of the server, with hostname checks on."""
    shake_hands(prepare_tls(tmp_path, names=NAMES), name)


def test_another_name_is_not_trusted(tmp_path: Path) -> None:
    """The certificate is for the server's names only."""
    files = prepare_tls(tmp_path, names=NAMES)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(files, "other.example")


def test_a_second_start_keeps_the_certificates(tmp_path: Path) -> None:
    """Clients that hold the authority's file go on working."""
    files = prepare_tls(tmp_path, names=NAMES)
    before = [path.read_bytes() for path in (files.ca, files.certificate, files.key)]
    prepare_tls(tmp_path, names=NAMES)
    assert [path.read_bytes() for path in (files.ca, files.certificate, files.key)] == before


def test_a_new_name_gets_a_certificate_of_the_same_authority(tmp_path: Path) -> None:
    """Only the server's certificate changes."""
    before = prepare_tls(tmp_path, names=NAMES).ca.read_bytes()
    files = prepare_tls(tmp_path, names={*NAMES, "new.example"})
    assert files.ca.read_bytes() == before
    shake_hands(files, "new.example")


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Nobody else on the machine reads the keys."""
    prepare_tls(tmp_path, names=NAMES)
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def shake_hands(files: TlsFiles, name: str) -> None:
    """Run a whole TLS handshake in memory."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files.certificate, files.key)
    client_context = ssl.create_default_context(cafile=str(files.ca))
    client_in, client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_in, server_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(client_in, client_out, server_hostname=name)
    server = server_context.wrap_bio(server_in, server_out, server_side=True)
    finished: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
                finished.add(side)
            except ssl.SSLWantReadError:
                pass
            server_in.write(client_out.read())
            client_in.write(server_out.read())
        if finished == {client, server}:
            return
    raise AssertionError("The handshake did not end.")
