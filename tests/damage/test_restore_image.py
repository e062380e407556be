"""The program that restores an image from a store alone, run as a user does after a disaster."""

from __future__ import annotations

from pathlib import Path

import pytest

from parts.disks import MIB, is_same
from parts.restorer import Restorer
from parts.vault import Vault


@pytest.fixture
def restorer(tmp_path: Path) -> Restorer:
    return Restorer(tmp_path)


def test_every_image_comes_back_byte_by_byte(written: Vault, restorer: Restorer) -> None:
    """From the folder alone; holes stay holes, and a few digits of the digest will do."""
    listed = restorer.list_digests(written.store)
    digests = [digest for each in listed.values() for digest in each]
    assert len(digests) == 3
    outputs = [restorer.restored(written.store, digest[:12]) for digest in digests]
    for disk in written.disks.values():
        same = [each for each in outputs if is_same(each, disk)]
        assert len(same) == 1, disk
        assert same[0].stat().st_blocks * 512 < 16 * MIB


def test_what_is_there_already_is_kept(written: Vault, restorer: Restorer) -> None:
    """An output that exists, a digest that does not, a folder that is no store."""
    digest = restorer.list_digests(written.store)[1024][0]
    output = restorer.folder / "mine.raw"
    output.write_bytes(b"mine")
    for store, wanted, target, words in (
        (written.store, digest, output, "is there already"),
        (written.store, "0" * 64, restorer.folder / "new.raw", "there is none"),
        (written.root, digest, restorer.folder / "new.raw", "is no store"),
    ):
        refused = restorer.run(store, wanted, "--output", target)
        assert refused.returncode == 1
        assert words in refused.stderr
    assert output.read_bytes() == b"mine"
    assert not (restorer.folder / "new.raw").exists()


@pytest.mark.parametrize("damage", ["flip a chunk", "cut a pack", "no pack", "flip a manifest"])
def test_a_damaged_store_is_refused(vault: Vault, restorer: Restorer, damage: str) -> None:
    """The error names the chunk or the manifest; no file appears."""
    sizes = restorer.list_digests(vault.store)
    digest = sizes[70 * MIB + 512][0]
    packs = [each for each in vault.packs() if each.stat().st_size > MIB]
    for pack in packs:
        if damage == "flip a chunk":
            data = bytearray(pack.read_bytes())
            data[5000] ^= 4
            pack.write_bytes(data)
        elif damage == "cut a pack":
            pack.write_bytes(pack.read_bytes()[:-100])
        elif damage == "no pack":
            pack.unlink()
    if damage == "flip a manifest":
        for manifest in vault.manifests():
            data = bytearray(manifest.read_bytes())
            data[70] ^= 1
            manifest.write_bytes(data)
    output = restorer.folder / "out.raw"
    refused = restorer.run(vault.store, digest, "--output", output)
    assert refused.returncode == 1
    assert "Error: The " in refused.stderr
    assert ("manifest" if damage == "flip a manifest" else "chunk") in refused.stderr
    assert "Traceback" not in refused.stderr
    assert [each.name for each in restorer.folder.glob("out*")] == []
