"""What a server has written: its data folder, the sources it copied from, the disks they hold."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from parts.disks import MIB, convert, random_bytes, write_raw
from parts.official import OfficialClient
from parts.server import ServerProcess

_TEXT = (b"a line of a log that repeats itself\n" * (MIB // 36 + 1))[:MIB]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """Images that were copied; `disks` maps their names to raw files of what a guest sees."""

    root: Path
    images: dict[str, str] = field(default_factory=dict)  # ids by name

    @property
    def data_dir(self) -> Path:
        return self.root / "data"

    @property
    def store(self) -> Path:
        return self.data_dir / "store"

    @property
    def sources(self) -> Path:
        return self.root / "images"

    @property
    def disks(self) -> dict[str, Path]:
        return {name: self.root / f"{name}.disk" for name in self.images}

    def packs(self) -> list[Path]:
        return sorted(path for path in (self.store / "packs").rglob("*") if path.is_file())

    def manifests(self) -> list[Path]:
        return sorted(path for path in (self.store / "manifests").rglob("*") if path.is_file())

    def copied_to(self, root: Path) -> Vault:
        """Copy all of it; what was at `root` before is gone. Sources stay the same files."""
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.data_dir, root / "data")
        for name in ("images", *(path.name for path in self.disks.values())):
            (root / name).symlink_to(self.root / name)
        return Vault(root=root, images=self.images)


def make_vault(root: Path, *, options: tuple[str, ...] = ()) -> Vault:
    """Copy three images that share chunks, by a real server that is stopped afterwards.

    `base` is raw with holes, text and noise and a tail of odd size; `patched` is the same with
    another third MiB, as qcow2; `small` lies in one short chunk.
    """
    sources = root / "images"
    sources.mkdir(parents=True)
    base = {
        0: random_bytes(MIB, seed=1),
        2 * MIB: _TEXT,
        5 * MIB + 512: random_bytes(2 * MIB, seed=2),
        64 * MIB: random_bytes(MIB, seed=3),
    }
    write_raw(root / "base.disk", size=70 * MIB + 512, data=base)
    write_raw(
        root / "patched.disk", size=70 * MIB + 512, data=base | {2 * MIB: random_bytes(MIB, seed=4)}
    )
    write_raw(root / "small.disk", size=1024, data={0: random_bytes(700, seed=5)})
    shutil.copy(root / "base.disk", sources / "base.raw")
    convert(root / "patched.disk", sources / "patched.qcow2", "-O", "qcow2", source_format="raw")
    shutil.copy(root / "small.disk", sources / "small.raw")
    server = ServerProcess(data_dir=root / "data", sources={"images": sources}, options=options)
    server.start()
    images: dict[str, str] = {}
    try:
        client = OfficialClient(server.profile)
        for name in ("base", "patched", "small"):
            operation = client.wait(client.copy(name, name).id)
            image = DesktopImage()
            assert operation.response.Unpack(image), operation
            images[name] = image.id
    finally:
        assert server.stop() == 0
    return Vault(root=root, images=images)
