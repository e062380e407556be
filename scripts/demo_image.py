"""Make a bootable disk image out of Debian's packages, as an ordinary user: no root, no mounts.

    MBR            SYSLINUX's boot code and the partition table
    1 MiB          FAT: SYSLINUX, Debian's kernel, an initramfs that finds and mounts the next one
    65 MiB         ext4: a small Debian userland with busybox as init and a shell on ttyS0

It boots in any PC with virtio, SATA or IDE disks and a BIOS, QEMU's for example:
    qemu-system-x86_64 -m 512 -nographic -drive file=IMAGE,format=qcow2,if=virtio
"""

# ruff: noqa: INP001, S603  (a script that runs Debian's programs, found on PATH)

from __future__ import annotations

import gzip
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

MARKER = "The demo system is up."
"""What the system prints on its serial console when it has booted."""

_VERSION = 1  # raise it with every change of what is made: the image is kept under this number
_PACKAGES = (
    "linux-image-cloud-amd64",
    "apt",
    "base-files",
    "base-passwd",
    "bash",
    "busybox-static",
    "coreutils",
    "grep",
    "iproute2",
    "less",
    "procps",
    "python3",
    "util-linux",
)
_MODULES = ("virtio_pci", "virtio_blk", "virtio_scsi", "ahci", "ata_piix", "sd_mod")
_DISK_SIZE = 2 << 30
_SECTOR_SIZE = 512
_BOOT_START = 1 << 20
_ROOT_START = 65 << 20
_BOOT_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")
_BOOT_CODE_SIZE = 440

_SYSLINUX_CONFIG = """\
SERIAL 0 115200
DEFAULT linux
LABEL linux
  KERNEL vmlinuz
  APPEND initrd=initrd.gz console=tty0 console=ttyS0,115200 quiet
"""
_INIT_OF_INITRAMFS = """\
#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
for module in $(busybox cat /modules/order); do busybox insmod "/modules/$module"; done
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  for disk in /dev/vda2 /dev/sda2; do
    if [ -b "$disk" ] && busybox mount -t ext4 "$disk" /root; then
      exec busybox switch_root /root /sbin/init
    fi
  done
  busybox sleep 0.5
done
echo "No root file system was found."
exec busybox sh
"""
_INITTAB = """\
::sysinit:/etc/rc
ttyS0::respawn:/bin/bash --login
::ctrlaltdel:/bin/busybox reboot
::shutdown:/bin/busybox sync
"""
_RC = f"""\
#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev 2>/dev/null
busybox mount -t tmpfs tmp /tmp
busybox hostname demo
echo "{MARKER} $(uname -sr), $(cat /etc/debian_version)" > /dev/ttyS0
"""


def find_or_make_image(cache: Path) -> Path:
    """Give the path of the image; it is made, once, when the cache has none."""
    image = cache / f"debian-demo-{_VERSION}.qcow2"
    if not image.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="making-", dir=cache) as folder:
            _make_image(Path(folder)).replace(image)
    return image


def _make_image(work: Path) -> Path:
    debs, root, boot = work / "debs", work / "root", work / "boot"
    _download(debs)
    root.mkdir()
    for deb in sorted(debs.glob("*.deb")):
        _run("dpkg-deb", "--extract", deb, root)
    boot.mkdir()
    kernel = next((root / "boot").glob("vmlinuz-*"))
    shutil.copy(kernel, boot / "vmlinuz")
    release = kernel.name.removeprefix("vmlinuz-")
    (boot / "initrd.gz").write_bytes(
        gzip.compress(b"".join(_pack_initramfs(root, release)), mtime=0)
    )
    (boot / "syslinux.cfg").write_text(_SYSLINUX_CONFIG)
    _complete_root(root)
    raw, image = work / "disk.raw", work / "disk.qcow2"
    _write_disk(raw, boot=boot, root=root)
    _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
    return image


def _download(debs: Path) -> None:
    """Fetch the packages and all that they need, as if nothing were installed."""
    (debs / "partial").mkdir(parents=True)
    nothing = debs / "nothing-installed"
    nothing.touch()
    options = {
        "Dir::State::status": nothing,
        "Dir::Cache::archives": debs,
        "Debug::NoLocking": "true",
        "APT::Sandbox::User": "",
        "APT::Install-Recommends": "false",
        "APT::Get::AllowUnauthenticated": "false",
    }
    settings = [f"-o{name}={value}" for name, value in options.items()]
    _run("apt-get", *settings, "--quiet=2", "--yes", "--download-only", "install", *_PACKAGES)


def _complete_root(root: Path) -> None:
    """Do the little of the packages' own set-up that this system needs to run."""
    for name in ("dev", "proc", "sys", "tmp", "root"):
        (root / name).mkdir(exist_ok=True)
    for name in ("passwd", "group"):
        shutil.copy(root / "usr/share/base-passwd" / f"{name}.master", root / "etc" / name)
    for path, text, mode in (
        ("etc/inittab", _INITTAB, 0o644),
        ("etc/rc", _RC, 0o755),
        ("etc/hostname", "demo\n", 0o644),
    ):
        (root / path).write_text(text)
        (root / path).chmod(mode)
    for name in ("sbin/init", "bin/sh"):
        (root / name).unlink(missing_ok=True)
    (root / "sbin/init").symlink_to("/bin/busybox")
    (root / "bin/sh").symlink_to("bash")


def _pack_initramfs(root: Path, release: str) -> Iterator[bytes]:
    """Pack busybox, the disk drivers and the init script into a cpio archive (newc)."""
    modules = list(_modules_in_order(root / "lib/modules" / release))
    order = "\n".join(each.name for each in modules) + "\n"
    for folder in ("bin", "dev", "modules", "root"):
        yield _cpio_entry(folder, 0o040755, b"")
    yield _cpio_entry("init", 0o100755, _INIT_OF_INITRAMFS.encode())
    yield _cpio_entry("bin/busybox", 0o100755, (root / "bin/busybox").read_bytes())
    yield _cpio_entry("modules/order", 0o100644, order.encode())
    for module in modules:
        yield _cpio_entry(f"modules/{module.name}", 0o100644, module.read_bytes())
    yield _cpio_entry("TRAILER!!!", 0, b"")


def _modules_in_order(folder: Path) -> Iterator[Path]:
    """Find the modules of the disk drivers, each after those that it depends on."""
    files = {each.stem.replace("-", "_"): each for each in folder.rglob("*.ko")}
    given: set[str] = set()

    def walk(name: str) -> Iterator[Path]:
        if name in given or name not in files:
            return  # not in files: built into the kernel
        given.add(name)
        found = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
        for needed in found.group(1).decode().split(",") if found else ():
            yield from walk(needed.replace("-", "_"))
        yield files[name]

    for name in _MODULES:
        yield from walk(name)


def _cpio_entry(name: str, mode: int, content: bytes) -> bytes:
    raw_name = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw_name), 0)
    header = b"070701" + "".join(f"{each:08X}" for each in fields).encode()
    return _padded(header + raw_name) + _padded(content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def _write_disk(raw: Path, *, boot: Path, root: Path) -> None:
    with raw.open("wb") as file:
        file.truncate(_DISK_SIZE)
        file.write(_BOOT_CODE.read_bytes()[:_BOOT_CODE_SIZE])
        file.seek(446)
        file.write(_partition(0x0E, _BOOT_START, _ROOT_START, is_active=True))
        file.write(_partition(0x83, _ROOT_START, _DISK_SIZE, is_active=False))
        file.seek(510)
        file.write(b"\x55\xaa")
    drive = f"{raw}@@{_BOOT_START}"
    start = str(_BOOT_START // _SECTOR_SIZE)
    sectors = str((_ROOT_START - _BOOT_START) // _SECTOR_SIZE)
    _run("mformat", "-i", drive, "-T", sectors, "-H", start, "-h", "64", "-s", "32", "::")
    _run("mcopy", "-i", drive, *sorted(boot.iterdir()), "::")
    _run("syslinux", "--install", "--offset", str(_BOOT_START), raw)
    root_kib = (_DISK_SIZE - _ROOT_START) // 1024
    features = f"offset={_ROOT_START},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
    _run(
        "/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-L", "demo-root", "-E", features,
        "-d", root, raw, f"{root_kib}k",
    )  # fmt: skip


def _partition(kind: int, start: int, end: int, *, is_active: bool) -> bytes:
    no_chs = b"\xfe\xff\xff"  # "look at the block numbers instead"
    first, count = start // _SECTOR_SIZE, (end - start) // _SECTOR_SIZE
    return struct.pack("<B3sB3sII", 0x80 if is_active else 0, no_chs, kind, no_chs, first, count)


def _run(*command: str | Path) -> None:
    settings = ("env", "LC_ALL=C", "MTOOLS_SKIP_CHECK=1")
    done = subprocess.run(
        [*settings, *map(str, command)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-500:]
        raise RuntimeError(f"`{command[0]}` failed: {said or f'exit status {done.returncode}'}.")
