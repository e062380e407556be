"""OVA files: the first disk is read where it lies; what leads elsewhere is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from clouddesktop.disk.errors import DamagedDiskError, UnsafeDiskError, UnsupportedDiskError
from clouddesktop.disk.reader import open_disk
from clouddesktop.disk.spool import Spool
from parts.disk_files import MemoryFile
from parts.disks import random_bytes
from strategies import DiskLayout, Piece, PieceKind, build_other, build_raw

LAYOUT = DiskLayout(
    size=2 << 20, pieces=(Piece(offset=4096, length=300_000, kind=PieceKind.RANDOM, seed=1),)
)
RAW = random_bytes(64 << 10, seed=3)
ENVELOPE = """<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
          xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References>
    <File ovf:id="other" ovf:href="notes.txt"/>
    <File ovf:id="file1" ovf:href="{name}"{more}/>
  </References>
  <DiskSection><Disk ovf:diskId="d1" ovf:fileRef="file1"/></DiskSection>
</Envelope>"""


def envelope(name: str, more: str = "") -> bytes:
    return ENVELOPE.format(name=name, more=more).encode()


def make(*members: tuple[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def read(content: bytes, tmp_path: Path) -> bytes:
    spool = Spool(tmp_path / "spool", most_bytes=1 << 30)
    with open_disk(MemoryFile(content, name="vm.ova"), readers=1, spool=spool) as disk:
        whole = bytearray(disk.size)
        disk.read_into(0, memoryview(whole))
        return bytes(whole)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_described_disk_is_read(tmp_path: Path, form: int) -> None:
    """Not the first file; the digest is verified."""
    digest = hashlib.sha256(RAW).hexdigest()
    manifest = f"SHA256(vm.ovf)= 00\nSHA256(disk.raw)= {digest}\n".encode()
    members = (
        ("vm.ovf", envelope("disk.raw")),
        ("vm.mf", manifest),
        ("notes.txt", b"x" * 5000),
        ("disk.raw", RAW),
    )
    assert read(make(*members, form=form), tmp_path) == RAW


@pytest.mark.qemu
@pytest.mark.parametrize("subformat", ["streamOptimized", "monolithicSparse"])
def test_a_vmdk_is_read_in_place(tmp_path: Path, subformat: str) -> None:
    """As exporters make them."""
    vmdk = build_other(tmp_path / "disk.vmdk", LAYOUT, ("vmdk", f"subformat={subformat}"))
    archive = make(("vm.ovf", envelope("disk.vmdk")), ("disk.vmdk", vmdk.read_bytes()))
    expected = build_raw(tmp_path / "raw", LAYOUT).read_bytes()
    assert read(archive, tmp_path) == expected
    assert not (tmp_path / "spool").exists()


def test_a_compressed_disk_is_unpacked(tmp_path: Path) -> None:
    """By gzip, as the specification allows."""
    members = (
        ("vm.ovf", envelope("disk.raw.gz", ' ovf:compression="gzip"')),
        ("disk.raw.gz", gzip.compress(RAW)),
    )
    assert read(make(*members), tmp_path) == RAW


def test_a_wrong_digest_is_damage(tmp_path: Path) -> None:
    manifest = f"SHA1(disk.raw)= {'0' * 40}\n".encode()
    members = (("vm.ovf", envelope("disk.raw")), ("vm.mf", manifest), ("disk.raw", RAW))
    with pytest.raises(DamagedDiskError, match="does not have the SHA1"):
        read(make(*members), tmp_path)


def test_the_only_list_of_digests_counts_whatever_it_is_called(tmp_path: Path) -> None:
    """Renaming a description renames nothing else; of two lists, none is known to be meant."""
    wrong = f"SHA256(disk.raw)= {'0' * 64}\n".encode()
    members = [("vm.ovf", envelope("disk.raw")), ("old.MF", wrong), ("disk.raw", RAW)]
    with pytest.raises(DamagedDiskError, match="does not have the SHA256"):
        read(make(*members), tmp_path)
    assert read(make(*members, ("older.mf", wrong)), tmp_path) == RAW
    right = f"SHA256(disk.raw)= {hashlib.sha256(RAW).hexdigest()}\n".encode()
    assert read(make(*members, ("vm.mf", right)), tmp_path) == RAW


@pytest.mark.parametrize("end", [600, 2000, -70_000, -11_000])
def test_a_truncated_archive_is_damaged(tmp_path: Path, end: int) -> None:
    archive = make(("vm.ovf", envelope("disk.raw")), ("disk.raw", RAW))
    with pytest.raises((DamagedDiskError, UnsafeDiskError)):
        read(archive[:end], tmp_path)


@pytest.mark.parametrize("name", ["../disk.raw", "/etc/passwd", "http://127.0.0.1/x", "absent"])
def test_a_disk_outside_the_archive_is_unsafe(tmp_path: Path, name: str) -> None:
    """Names are compared with those in the archive, and never opened (CVE-2026-34881)."""
    with pytest.raises(UnsafeDiskError, match="not in it"):
        read(make(("vm.ovf", envelope(name)), ("disk.raw", RAW)), tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_unsafe(tmp_path: Path, kind: bytes) -> None:
    """CVE-2026-48749: a link in an archive led out of it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        text = envelope("disk.raw")
        info = tarfile.TarInfo("vm.ovf")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
        link = tarfile.TarInfo("disk.raw")
        link.type, link.linkname = kind, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(UnsafeDiskError, match="more than files"):
        read(target.getvalue(), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<a",
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a [<!ENTITY l "ha"><!ENTITY m "&l;&l;">]><a>&m;</a>',
        b"<?xml version='1.0' encoding='nonsense'?><a/>",
        b"<a>" * 5000,
    ],
)
def test_a_hostile_description_is_damage(tmp_path: Path, text: bytes) -> None:
    """No entity is looked up, none is multiplied."""
    with pytest.raises(DamagedDiskError, match="description"):
        read(make(("vm.ovf", text), ("disk.raw", RAW)), tmp_path)


def test_a_description_without_a_disk_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedDiskError, match="describes no disk"):
        read(make(("vm.ovf", b"<a/>"), ("disk.raw", RAW)), tmp_path)
    chunked = envelope("disk.raw", ' ovf:chunkSize="100"')
    with pytest.raises(UnsupportedDiskError, match="in pieces"):
        read(make(("vm.ovf", chunked), ("disk.raw", RAW)), tmp_path)


def test_headers_that_ask_for_much_are_refused(tmp_path: Path) -> None:
    """An extended header says itself how long it is."""
    archive = bytearray(make(("vm.ovf", envelope("disk.raw")), ("disk.raw", RAW)))
    place = archive.index(b"disk.raw\0", 1024)
    pax = tarfile.TarInfo("PaxHeaders/x")
    pax.type, pax.size = tarfile.XHDTYPE, 1 << 30
    archive[place:place] = pax.tobuf()
    with pytest.raises(DamagedDiskError):
        read(bytes(archive), tmp_path)


def test_an_archive_without_a_description_is_its_bytes(tmp_path: Path) -> None:
    """Any tar may be what somebody wants on a disk."""
    archive = make(("disk.raw", RAW))
    assert read(archive, tmp_path).startswith(archive)


def test_headers_before_the_first_member_hide_nothing(tmp_path: Path) -> None:
    """Python's own tarfile writes one for a time with fractions."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in (("vm.ovf", envelope("disk.raw")), ("disk.raw", RAW)):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1.5
            archive.addfile(info, io.BytesIO(content))
    assert b"vm.ovf" not in target.getvalue()[:100].split(b"\0")[0].split(b"/")[-1:]
    assert read(target.getvalue(), tmp_path) == RAW


def test_a_header_that_is_named_as_a_description_is_none(tmp_path: Path) -> None:
    """The first member counts, whatever the headers before it are called."""
    archive = bytearray(make(("other.txt", b"x" * 600), form=tarfile.PAX_FORMAT))
    pax = tarfile.TarInfo("x.ovf")
    pax.type, pax.size = tarfile.XHDTYPE, 512
    record = b"20 comment=aaaaaaaa\n".ljust(512, b"\0")
    archive[0:0] = pax.tobuf() + record
    assert read(bytes(archive), tmp_path).startswith(archive)


@pytest.mark.parametrize("wrap", [gzip.compress, lambda inner: make(("disk.raw", inner))])
def test_an_archive_in_an_archive_is_refused(
    tmp_path: Path, wrap: Callable[[bytes], bytes]
) -> None:
    """It would be copied as a disk of the archive's own bytes."""
    inner = make(("vm.ovf", envelope("disk.raw")), ("disk.raw", RAW))
    outer = wrap(inner)
    if not outer.startswith(b"\x1f\x8b"):
        outer = make(("vm.ovf", envelope("disk.raw")), ("disk.raw", inner))
    with pytest.raises(UnsupportedDiskError, match="archive inside"):
        read(outer, tmp_path)
