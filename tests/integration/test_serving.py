"""Starting and stopping the server process."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
import yaml

from clouddesktop.catalog import tables
from clouddesktop.catalog.installation import STORE_ID
from parts.disks import MIB, random_bytes, write_raw
from parts.faults import PausedServer
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.server import ServerProcess
from parts.waiting import wait_for


def serve(*options: str) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "clouddesktop", "serve", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("setting", ["grpc", "http"])
def test_a_taken_port_ends_the_start_with_one_paragraph(tmp_path: Path, setting: str) -> None:
    """The error names the address; nothing is printed on standard output."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0", setting: address}
        ended = serve(
            *("--data-dir", str(tmp_path / "data")),
            *("--grpc", settings["grpc"], "--http", settings["http"]),
        )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert f"cannot listen on {address}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--source", "images=file:///missing/folder"), "/missing/folder"),
        (("--database", "mysql://localhost/db"), "neither sqlite:///PATH nor postgresql"),
        (("--database", "postgresql://localhost:1/db"), "out of reach"),
        (("--workers", "0"), "workers is 0"),
        (("--store", "ftp://host/folder"), "file:///"),
        (("--grpc", "localhost"), "not HOST:PORT"),
        (("--plaintext", "--grpc", "0.0.0.0:0"), "loopback"),
        (("--config", "/missing.toml"), "/missing.toml"),
        (("--names", "no name"), "no host name"),
    ],
)
def test_a_setting_that_cannot_be_served_is_named(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    """One paragraph on standard error and a failing exit status, whatever the setting."""
    ended = serve("--data-dir", str(tmp_path / "data"), *options)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_first_start_makes_everything_and_says_so(server: ServerProcess) -> None:
    """The ready line, the profile and the admin's key are as the contract has them."""
    assert set(server.ready) == {"event", "grpc", "http", "profile"}
    assert server.ready["event"] == "ready"
    profile = yaml.safe_load(Path(server.ready["profile"]).read_text())
    assert set(profile) == {"endpoint", "rest", "ca", "key", "cloud_id", "folder_id"}
    assert profile["endpoint"] == server.ready["grpc"]
    assert profile["rest"] == server.ready["http"]
    key = json.loads(Path(profile["key"]).read_text())
    assert {"id", "service_account_id", "created_at", "key_algorithm"} < set(key)
    assert key["private_key"].splitlines()[1] == "-----BEGIN PRIVATE KEY-----"
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
    for secret in ("keys/admin.json", "keys/tokens.key", "tls/ca.key", "tls/server.key"):
        assert stat.S_IMODE((server.data_dir / secret).stat().st_mode) == 0o600


def test_only_the_servers_user_can_read_its_data(
    make_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    """Whatever mode the folder had before, and wherever the store is."""
    data_dir, store = tmp_path / "open", tmp_path / "store"
    for folder in (data_dir, store):
        folder.mkdir(mode=0o755)
    server = make_server(data_dir=data_dir, options=("--store", f"file://{store}"))
    server.start()
    assert server.stop() == 0
    made = [*data_dir.rglob("*"), *store.rglob("*")]
    harmless = {"profile.yaml", "ca.pem", "server.pem"}
    public = [each for each in made if each.stat().st_mode & 0o077 and each.name not in harmless]
    assert [each.name for each in public if each.is_file()] == []


@pytest.mark.parametrize(
    "file", ["keys/admin.json", "keys/tokens.key", "tls/ca.pem", "tls/server.pem"]
)
def test_a_damaged_file_of_the_servers_is_named(
    make_server: Callable[..., ServerProcess], file: str
) -> None:
    """One paragraph, and nothing is overwritten."""
    server = make_server()
    server.start()
    assert server.stop() == 0
    (server.data_dir / file).write_text("{}")
    ended = serve("--data-dir", str(server.data_dir))
    assert ended.returncode == 1
    assert "damaged" in ended.stderr
    assert "fault" not in ended.stderr
    assert (server.data_dir / file).read_text() == "{}"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """In words, not by a library's error."""
    other = tmp_path / "other.db"
    other.write_bytes(b"no database" * 1000)
    ended = serve("--data-dir", str(tmp_path / "data"), "--database", f"sqlite:///{other}")
    assert ended.returncode == 1
    assert "The database cannot be used" in ended.stderr


def test_plaintext_serves_loopback_without_certificates(
    make_server: Callable[..., ServerProcess],
) -> None:
    """For tools under test that speak no TLS."""
    server = make_server(options=("--plaintext",))
    server.start()
    assert server.ready["http"].startswith("http://127.0.0.1:")
    assert httpx.get(f"{server.ready['http']}/healthz", trust_env=False).status_code == 200
    with grpc.insecure_channel(server.ready["grpc"]) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
    assert server.stop() == 0


def test_what_copies_in_a_server_lets_calls_come_first(
    make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path
) -> None:
    """On an embedded database both are threads of one process: those that copy are nicer."""
    write_raw(sources_dir / "disk.raw", size=MIB, data={0: b"data"})
    paused = PausedServer(make_server, tmp_path, failpoint="range-read:0")
    operation = OfficialClient(paused.server.profile).copy("disk", "disk")
    paused.wait_paused()
    assert paused.server.process is not None
    process = psutil.Process(paused.server.process.pid)
    nice = [os.getpriority(os.PRIO_PROCESS, each.id) for each in process.threads()]
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(nice)
    assert 1 <= sum(each > min(nice) for each in nice) < len(nice) / 2
    paused.go_on()
    assert OfficialClient(paused.server.profile).wait(operation.id).HasField("response")
    assert paused.server.stop() == 0


def test_a_stopped_server_goes_on_where_it_was(
    make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path
) -> None:
    """SIGTERM in mid-copy: exit 0, ranges at work are recorded, the next start ends the copy."""
    data = {index * 8 * MIB: random_bytes(MIB, seed=index) for index in range(12)}
    write_raw(sources_dir / "disk.raw", size=96 * MIB, data=data)
    paused = PausedServer(make_server, tmp_path, failpoint="range-read:0")
    server = paused.server
    operation = OfficialClient(server.profile).copy("disk", "disk")
    paused.wait_paused()
    assert server.process is not None
    server.process.terminate()
    wait_for(lambda: '"stopping"' in server.log.read_text(), "the server is stopping")
    paused.go_on()
    assert server.stop() == 0
    noted = paused.noted()
    assert "range-recorded:0" in noted
    assert "seal-begin" not in noted
    server.start()
    done = OfficialClient(server.profile).wait(operation.id)
    assert done.WhichOneof("result") == "response", done
    begun = [each for each in paused.noted() if each.startswith("range-begin")]
    assert len(begun) == len(set(begun)) == 12
    assert server.stop() == 0


def test_another_store_is_not_taken_for_the_own(
    make_server: Callable[..., ServerProcess], sources_dir: Path, tmp_path: Path
) -> None:
    """A store that is not mounted looks empty: the start is refused instead of losing chunks."""
    write_raw(sources_dir / "disk.raw", size=MIB, data={0: b"x"})
    store = tmp_path / "store"
    server = make_server(options=("--store", f"file://{store}"))
    server.start()
    assert server.stop() == 0
    store.rename(tmp_path / "elsewhere")
    ended = serve("--data-dir", str(server.data_dir), "--store", f"file://{store}")
    assert ended.returncode == 1
    assert "not the one" in ended.stderr
    inspection = Inspection.of(server.data_dir, store=tmp_path / "elsewhere")
    assert list(inspection.column(tables.installation.c.name)).count(STORE_ID) == 1
    inspection.close()
