"""A server on a machine whose kernel or packages allow no sandbox."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from parts.disks import MIB, convert, write_raw
from parts.official import OfficialClient
from parts.server import ServerProcess
from parts.waiting import wait_for


@pytest.mark.qemu
def test_a_server_without_a_sandbox_says_so_and_refuses_what_needs_one(
    make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path
) -> None:
    """Raw disks are copied all the same; with `preferred` the others are, too."""
    write_raw(sources_dir / "plain.raw", size=MIB, data={0: b"plain"})
    convert(sources_dir / "plain.raw", sources_dir / "disk.qcow2", "-O", "qcow2")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "bwrap").symlink_to("/bin/false")
    server = make_server(variables={"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"})
    server.start()
    wait_for(lambda: "no sandbox for QEMU" in server.log.read_text(), "the log says so")
    client = OfficialClient(server.profile)
    assert client.wait(client.copy("plain", "plain").id).WhichOneof("result") == "response"
    refused = client.wait(client.copy("disk", "disk").id)
    assert "cannot be locked in here (" in refused.error.message
    assert "sandbox=preferred" in refused.error.message
    assert server.stop() == 0
    server.options = ("--sandbox", "preferred")
    server.start()
    client = OfficialClient(server.profile)
    assert client.wait(client.copy("disk", "disk").id).WhichOneof("result") == "response"
    assert server.stop() == 0
