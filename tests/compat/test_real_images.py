"""Images that other programs made are read as qemu-img reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.probe import DiskFormat, probe_disk
from parts.disks import MIB, random_bytes, read_as_qemu, write_raw
from parts.reading import read_whole

pytestmark = pytest.mark.qemu

PACKAGED = (
    "/usr/lib/grub-rescue/grub-rescue-cdrom.iso",  # hybrid: ISO 9660, MBR and GPT in one
    "/usr/lib/grub-rescue/grub-rescue-floppy.img",
    "/usr/lib/ipxe/ipxe.iso",
)


def check(path: Path, tmp_path: Path, *, disk_format: DiskFormat) -> None:
    with path.open("rb") as file:
        assert probe_disk(LocalFile(file.fileno())) is disk_format
    content = read_whole(path)
    assert content == read_as_qemu(path, disk_format=disk_format, scratch=tmp_path)
    assert any(content)


@pytest.mark.parametrize("path", PACKAGED)
def test_boot_images_of_packages(tmp_path: Path, path: str) -> None:
    """They are read as they lie."""
    assert Path(path).is_file(), f"{path} is not there: run scripts/setup"
    check(Path(path), tmp_path, disk_format=DiskFormat.RAW)


def test_a_streamed_vmdk_with_its_footer(tmp_path: Path) -> None:
    """By a program that appends the tables and the footer, as exporters of OVAs do."""
    raw, vmdk = tmp_path / "disk.raw", tmp_path / "disk.vmdk"
    data = {0: random_bytes(MIB, seed=1), 5 * MIB: b"text " * 40_000, 17 * MIB: b"end"}
    write_raw(raw, size=20 * MIB, data=data)
    # Debian's package is for Debian's Python.
    make = ["/usr/bin/python3", "-m", "VMDKstream", str(raw), str(vmdk)]
    subprocess.run(make, check=True, capture_output=True)
    check(vmdk, tmp_path, disk_format=DiskFormat.VMDK)
    assert read_whole(vmdk) == raw.read_bytes()


def test_a_disc_that_boots_from_everything(tmp_path: Path) -> None:
    """With partition tables that other tools find odd."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "a").write_bytes(random_bytes(MIB, seed=2))
    iso = tmp_path / "disc.iso"
    make = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-partition_offset", "16"]
    subprocess.run([*make, "-o", str(iso), str(files)], check=True, capture_output=True)
    check(iso, tmp_path, disk_format=DiskFormat.RAW)
