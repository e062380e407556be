"""Images that other programs made are read as qemu-img reads them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.probe import DiskFormat, probe_disk
from parts.disks import MIB, convert, random_bytes, read_as_qemu, write_raw
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


def test_a_disc_of_genisoimage(tmp_path: Path) -> None:
    """With names in Rock Ridge and Joliet."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "meta-data").write_bytes(b"instance-id: i\n")
    (files / "a").write_bytes(random_bytes(MIB, seed=3))
    iso = tmp_path / "seed.iso"
    make = ["genisoimage", "-quiet", "-volid", "cidata", "-joliet", "-rock"]
    subprocess.run([*make, "-output", str(iso), str(files)], check=True, capture_output=True)
    check(iso, tmp_path, disk_format=DiskFormat.RAW)


def test_a_floppy_of_mtools(tmp_path: Path) -> None:
    """FAT, whose first sector looks much like a partition table."""
    floppy, file = tmp_path / "floppy.img", tmp_path / "file"
    file.write_bytes(random_bytes(300_000, seed=4))
    subprocess.run(["mformat", "-C", "-f", "1440", "-i", str(floppy), "::"], check=True)
    subprocess.run(["mcopy", "-i", str(floppy), str(file), "::"], check=True)
    check(floppy, tmp_path, disk_format=DiskFormat.RAW)


@pytest.mark.parametrize(
    "make",
    [
        ["parted", "--script", "DISK", "mklabel", "gpt", "mkpart", "root", "ext4", "1MiB", "100%"],
        ["parted", "--script", "DISK", "mklabel", "msdos", "mkpart", "primary", "1MiB", "100%"],
        ["sfdisk", "--quiet", "--label=gpt", "DISK"],
        ["sfdisk", "--quiet", "--label=dos", "DISK"],
    ],
    ids=["parted-gpt", "parted-msdos", "sfdisk-gpt", "sfdisk-dos"],
)
def test_disks_that_others_partitioned(tmp_path: Path, make: list[str]) -> None:
    """With an ext4 in the first partition, and the second table of a GPT at the disk's end."""
    disk = tmp_path / "disk.raw"
    write_raw(disk, size=32 * MIB, data={})
    command = [str(disk) if each == "DISK" else each for each in make]
    # Both lie where only root's PATH leads.
    subprocess.run([f"/usr/sbin/{command[0]}", *command[1:]], check=True, input=b"start=2048\n")
    format_it = ["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-E", f"offset={MIB}", str(disk), "30M"]
    subprocess.run(format_it, check=True, capture_output=True)
    check(disk, tmp_path, disk_format=DiskFormat.RAW)


@pytest.mark.slow
def test_a_file_system_of_mmdebstrap(tmp_path: Path) -> None:
    """Debian's own files with their owners, links and devices, in ext4, raw and compressed."""
    if os.geteuid() != 0:
        pytest.skip("mmdebstrap makes files of other owners, which root alone may")
    tree, disk = tmp_path / "tree", tmp_path / "disk.raw"
    make = ["mmdebstrap", "--quiet", "--variant=extract", "--include=busybox", "bookworm"]
    made = subprocess.run(
        [*make, str(tree)], check=False, capture_output=True, text=True, timeout=60
    )
    if any(each in made.stderr for each in ("Failed to fetch", "Could not resolve")):
        pytest.skip(f"Debian's mirror is not reached: {made.stderr[-300:]}")
    assert made.returncode == 0, made.stderr
    write_raw(disk, size=128 * MIB, data={})
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(disk)], check=True)
    check(disk, tmp_path, disk_format=DiskFormat.RAW)
    qcow2 = tmp_path / "disk.qcow2"
    convert(disk, qcow2, "-O", "qcow2", "-c", source_format="raw")
    assert read_whole(qcow2) == read_whole(disk)
