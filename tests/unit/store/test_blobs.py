"""The blob store on its back ends, and what only a local folder has."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
import pytest
from obstore.store import LocalStore, MemoryStore

from clouddesktop.errors import Code, InvalidArgumentError
from clouddesktop.store.blobs import BlobStore, open_store
from clouddesktop.store.faults import (
    NotAStoreError,
    StoreForbiddenError,
    StoreFullError,
    StoreUnavailableError,
)
from clouddesktop.store.local import LocalFolder
from suites.blob_store import DATA, KEY, BlobStoreSuite

MIB = 1 << 20


class TestMemory(BlobStoreSuite):
    """Blobs in obstore's memory store."""

    store: MemoryStore

    @pytest.fixture
    def blobs(self) -> BlobStore:
        self.store = MemoryStore()
        return BlobStore(self.store, name="memory")

    def raw_get(self, key: str) -> bytes | None:
        return bytes(obstore.get(self.store, key).bytes())

    def raw_put(self, key: str, data: bytes) -> None:
        obstore.put(self.store, key, data)

    def raw_keys(self) -> Sequence[str]:
        return sorted(each["path"] for batch in obstore.list(self.store) for each in batch)


class TestLocal(BlobStoreSuite):
    """Blobs in a folder."""

    root: Path

    @pytest.fixture
    def blobs(self, tmp_path: Path) -> BlobStore:
        self.root = tmp_path / "sto re%41#1"
        folder = LocalFolder(self.root)
        return BlobStore(LocalStore(self.root), name=str(self.root), folder=folder)

    def raw_get(self, key: str) -> bytes | None:
        return (self.root / key).read_bytes()

    def raw_put(self, key: str, data: bytes) -> None:
        (self.root / key).parent.mkdir(parents=True, exist_ok=True)
        (self.root / key).write_bytes(data)

    def raw_keys(self) -> Sequence[str]:
        return sorted(
            str(each.relative_to(self.root))
            for each in self.root.rglob("*")
            if each.is_file() and each.name != "lock"
        )


def test_a_blob_is_synced_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, name, then every folder above it: a power cut leaves a whole blob or none."""
    store = tmp_path / "store"
    blobs = open_store(f"file://{store}")
    synced: list[tuple[str, int, bool]] = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        size = Path(path).stat().st_size
        synced.append((path.removeprefix(str(tmp_path)), size, (store / KEY).exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    blobs.put(KEY, DATA)
    (file, size, is_named), *folders = synced
    assert file.startswith("/store/staging/")
    assert size == len(DATA)
    assert not is_named
    assert [each[0] for each in folders] == ["/store/packs/e3o1", "/store/packs", "/store"]
    assert all(each[2] for each in folders)
    synced.clear()
    assert not blobs.put(KEY, DATA)
    assert f"/store/{KEY}" in [each[0] for each in synced]
    assert synced[-1][0] == "/store"
    synced.clear()
    blobs.delete(KEY)
    assert synced[-1][0] == "/store"


def test_a_new_store_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    """The folder is made with what lies above it, and closed to other users."""
    store = tmp_path / "a" / "b"
    open_store(f"file://{store}")
    assert stat.S_IMODE(store.stat().st_mode) == 0o700


def test_a_store_is_opened_again(tmp_path: Path) -> None:
    """What one opening stored, the next one reads; escapes in the URL are undone."""
    first = open_store(f"file://{tmp_path}/a%20b")
    first.put(KEY, DATA)
    second = open_store(f"file://localhost{tmp_path}/a b")
    assert second.get(KEY) == DATA
    assert first.check_format() == second.check_format()


@pytest.mark.parametrize("name", ["lost+found", ".Trash-0"])
def test_a_fresh_file_system_is_an_empty_store(tmp_path: Path, name: str) -> None:
    """What mkfs or a desktop leaves on a disk is nobody's."""
    (tmp_path / name).mkdir()
    open_store(f"file://{tmp_path}").put(KEY, DATA)


@pytest.mark.parametrize("url", ["", "store", "/store", "file:store", "file://store", "http://a/b"])
def test_other_urls_are_refused(url: str) -> None:
    """An URL of no kind that we know says what to write instead."""
    with pytest.raises(InvalidArgumentError, match="file:///DIR"):
        open_store(url)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    """The error names the file."""
    (tmp_path / "file").touch()
    with pytest.raises(NotAStoreError, match="file is no folder"):
        open_store(f"file://{tmp_path}/file")


def test_an_empty_folder_goes_with_its_last_blob(tmp_path: Path) -> None:
    """A failed copy leaves no folder behind; the top ones stay."""
    blobs = open_store(f"file://{tmp_path}")
    blobs.put(KEY, DATA)
    blobs.put(KEY + "1", DATA)
    blobs.delete(KEY)
    assert (tmp_path / KEY).parent.exists()
    blobs.delete(KEY + "1")
    assert not (tmp_path / KEY).parent.exists()
    assert (tmp_path / "packs").exists()
    blobs.delete(KEY)


def test_puts_and_deletes_side_by_side(tmp_path: Path) -> None:
    """Folders that come and go under a put do not make it fail."""
    blobs = open_store(f"file://{tmp_path}")

    def put_and_delete(name: str) -> None:
        for _ in range(100):
            assert blobs.put(f"packs/one/{name}", b"x")
            blobs.delete(f"packs/one/{name}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(put_and_delete, "abcd"))


CHILD = """
import sys
from pathlib import Path
from clouddesktop.store.local import LocalFolder

folder = LocalFolder(Path(sys.argv[1]))
(folder.root / folder.stage()).write_bytes(b"half")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is in the middle of a put in the store `tmp_path / "store"`."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_opening_removes_what_a_crash_left(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    """A put that was killed leaves no name, and its bytes go when the store is opened again."""
    staging = tmp_path / "store" / "staging"
    open_store(f"file://{tmp_path}/store")
    assert [each.read_bytes() for each in staging.glob("*/0")] == [b"half"]  # it is still alive
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    blobs = open_store(f"file://{tmp_path}/store")
    assert not list(staging.glob("*/0"))
    assert list(blobs.iter_keys("packs")) == []


def test_a_closed_store_leaves_no_staging(tmp_path: Path) -> None:
    """A store that nobody uses any more takes its staging folder along."""
    blobs = open_store(f"file://{tmp_path}")
    blobs.put(KEY, DATA)
    assert len(list((tmp_path / "staging").iterdir())) == 1
    del blobs
    assert list((tmp_path / "staging").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    disk = tmp_path / "small"
    disk.mkdir()
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    options = f"size=8m,uid={os.geteuid()},gid={os.getegid()}"
    mounted = subprocess.run(
        [*sudo, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.fail(
            "This test mounts a small tmpfs: run it as root, or as a user whose `sudo -n mount`"
            f" works. mount said: {mounted.stderr.strip()}"
        )
    yield disk
    subprocess.run([*sudo, "umount", "--lazy", str(disk)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    """STORE_FULL names the store; nothing of the blob stays; what fits still goes in."""
    store = small_disk / "store"
    blobs = open_store(f"file://{store}")
    blobs.put("packs/a/0", bytes(2 * MIB))
    for _ in range(3):  # space that one failure kept would be missed by the next
        with pytest.raises(StoreFullError, match=f"{store} is full") as caught:
            blobs.put("packs/a/1", bytes(7 * MIB))
        assert caught.value.failure.code is Code.RESOURCE_EXHAUSTED
        assert "space" in caught.value.remedy
        assert list(blobs.iter_keys("packs")) == ["packs/a/0"]
        assert [each.name for each in store.glob("staging/*/*")] == ["lock"]
    assert blobs.put("packs/a/2", bytes(5 * MIB))
    assert blobs.get("packs/a/0") == bytes(2 * MIB)
    blobs.delete("packs/a/0")
    assert blobs.put("packs/a/1", bytes(2 * MIB))


def test_a_full_disk_at_sync_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems that give out blocks late say so at fsync: the blob gets no name."""
    blobs = open_store(f"file://{tmp_path}/store")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFullError):
        blobs.put(KEY, DATA)
    assert not (tmp_path / "store" / KEY).exists()
    assert [each.name for each in tmp_path.glob("store/staging/*/*")] == ["lock"]


def test_what_is_in_the_way_is_said(tmp_path: Path) -> None:
    """An error of the file system that we have no word for names the store and the cause."""
    blobs = open_store(f"file://{tmp_path}")
    (tmp_path / "packs").write_bytes(b"")
    with pytest.raises(StoreUnavailableError, match=f"{tmp_path}.*(directory|exists)"):
        blobs.put(KEY, DATA)


FORBIDDEN = """
import os, sys
from clouddesktop.store.blobs import open_store
from clouddesktop.store.faults import StoreForbiddenError

url, key = f"file://{sys.argv[1]}", sys.argv[2]
blobs = open_store(url)
os.chmod(sys.argv[1], 0)
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
for use in (
    lambda: open_store(url),
    lambda: blobs.get(key),
    lambda: blobs.get_range(key, offset=0, length=1),
    lambda: blobs.put(key + "1", b"x"),
    lambda: list(blobs.iter_keys("packs")),
    lambda: blobs.delete(key),
):
    try:
        use()
    except StoreForbiddenError as error:
        print(error.message, error.remedy)
"""


def test_a_store_of_another_user(tmp_path: Path) -> None:
    """The error says that rights are missing and whose they should be."""
    store = tmp_path / "store"
    open_store(f"file://{store}").put(KEY, DATA)
    done = subprocess.run(
        [sys.executable, "-c", FORBIDDEN, str(store), KEY],
        capture_output=True,
        text=True,
        check=False,
    )
    store.chmod(0o700)
    lines = done.stdout.splitlines()
    assert len(lines) == 6, done.stdout + done.stderr
    assert all(f"may not read or write the store {store}" in line for line in lines)
    assert StoreForbiddenError.code is Code.FAILED_PRECONDITION


def test_a_staging_folder_that_was_tidied_away_is_made_anew(tmp_path: Path) -> None:
    """Whoever removes it loses nothing that counts, and the store goes on."""
    blobs = open_store(f"file://{tmp_path}/store")
    blobs.put(KEY, DATA)
    shutil.rmtree(tmp_path / "store/staging")
    assert blobs.put(f"{KEY}-2", DATA)
    assert blobs.get(f"{KEY}-2") == DATA
