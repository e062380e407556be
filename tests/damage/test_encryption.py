"""An encrypted store, by a real server: what lies there, who can read it, and changing the key."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from clouddesktop.cli.main import app
from parts.disks import is_same, random_bytes
from parts.official import OfficialClient
from parts.restorer import Restorer
from parts.scrubs import scrub
from parts.server import ServerProcess
from parts.vault import Vault, make_vault

KEYS = {
    name: base64.b64encode(random_bytes(32, seed=seed)).decode() for seed, name in enumerate("ab")
}


def write_keys(folder: Path, *names: str) -> Path:
    """Write a key file; the first name's key is the one in use."""
    path = folder / f"keys-{'-'.join(names)}"
    path.write_text("".join(f"key-{name}: {KEYS[name]}\n" for name in names))
    path.chmod(0o600)
    return path


def serve(vault: Vault, keys: Path | None) -> ServerProcess:
    return ServerProcess(
        data_dir=vault.data_dir,
        sources={"images": vault.sources},
        options=() if keys is None else ("--encryption-keys", str(keys)),
    )


def start_in_vain(vault: Vault, keys: Path) -> str:
    """Start a server that must refuse to; gives what it says."""
    command = ["clouddesktop", "serve", "--data-dir", str(vault.data_dir), "--grpc", "127.0.0.1:0"]
    options = ("--http", "127.0.0.1:0", "--encryption-keys", str(keys))
    done = subprocess.run([*command, *options], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    return done.stderr


def rekey(server: ServerProcess) -> dict[str, object]:
    words = ("--profile", str(server.profile), "store", "rekey", "--rate", "0", "--format", "json")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    report: dict[str, object] = json.loads(done.stdout)["report"]
    return report


def check_restored(vault: Vault, restorer: Restorer, keys: Path) -> None:
    """Every image comes out of the store's folder by these keys."""
    listed = restorer.list_digests(vault.store, "--keys", keys)
    outputs = [
        restorer.restored(vault.store, digest, "--keys", keys)
        for digests in listed.values()
        for digest in digests
    ]
    for disk in vault.disks.values():
        assert any(is_same(each, disk) for each in outputs)


def check_sealed(vault: Vault) -> None:
    """No byte of any chunk that does not compress is there to see, and all versions say so."""
    noise = random_bytes(4096, seed=1)[:64]
    for path in (*vault.packs(), *vault.manifests()):
        data = path.read_bytes()
        assert data[8] == 2
        assert noise not in data


def check_secret(vault: Vault) -> None:
    """No key is in the log, the database or the store."""
    kept = [path for path in vault.data_dir.rglob("*") if path.is_file()]
    for path in (*kept, serve(vault, None).log):
        data = path.read_bytes()
        for key in KEYS.values():
            assert key.encode() not in data, path
            assert base64.b64decode(key) not in data, path


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    """A store that was encrypted from its beginning, by key a."""
    root = tmp_path_factory.mktemp("sealed")
    return make_vault(root, options=("--encryption-keys", str(write_keys(root, "a"))))


def test_an_encrypted_store_is_read_by_its_key_alone(sealed: Vault, tmp_path: Path) -> None:
    """The program restores all of it; without the key, or by another, it says which it needs."""
    check_sealed(sealed)
    check_secret(sealed)
    restorer = Restorer(tmp_path)
    check_restored(sealed, restorer, write_keys(tmp_path, "a"))
    digest = sealed.manifests()[0].name[:64]
    for options in ((), ("--keys", write_keys(tmp_path, "b"))):
        refused = restorer.run(sealed.store, digest, "--output", tmp_path / "no.raw", *options)
        assert refused.returncode == 1
        assert "needs the key 'key-a'" in refused.stderr
        assert not (tmp_path / "no.raw").exists()


@settings(max_examples=6)
@given(data=st.data())
def test_a_flipped_byte_of_an_encrypted_store_is_found(
    sealed: Vault, tmp_path: Path, data: st.DataObject
) -> None:
    """Also in a key's name or check: that is damage, not a key that the server lacks."""
    vault = sealed.copied_to(tmp_path / "vault")
    keys = write_keys(tmp_path, "a")
    blob = data.draw(st.sampled_from([*vault.packs(), *vault.manifests()]))
    head = 56 if "manifests" in blob.parts else 16
    place = data.draw(
        st.integers(head, head + 36) | st.integers(0, blob.stat().st_size - 1), label="place"
    )
    content = bytearray(blob.read_bytes())
    content[place] ^= data.draw(st.integers(1, 255))
    blob.write_bytes(content)
    report = scrub(vault, keys=keys)
    assert report["packs_damaged"] + report["manifests_damaged"] == 1
    assert report["images"] == []
    again = scrub(vault, keys=keys, with_sources=False)
    assert again["packs_damaged"] + again["manifests_damaged"] + again["chunks_lost"] == 0
    check_restored(vault, Restorer(tmp_path), keys)


def test_the_key_is_changed(sealed: Vault, tmp_path: Path) -> None:
    """No start without the old key until everything is written anew; after that, one."""
    vault = sealed.copied_to(tmp_path / "vault")
    refused = start_in_vain(vault, write_keys(tmp_path, "b"))
    assert "encrypted by the key key-a, which the server lacks" in refused
    server = serve(vault, write_keys(tmp_path, "b", "a"))
    server.start()
    report = rekey(server)
    assert server.stop() == 0
    assert report["keys"] == {"key-a": report["chunks_checked"]}
    assert report["packs_rekeyed"] == report["packs_checked"]
    assert report["manifests_rekeyed"] == 3
    restorer = Restorer(tmp_path)
    check_restored(vault, restorer, write_keys(tmp_path, "b"))
    server = serve(vault, write_keys(tmp_path, "b"))
    server.start()
    assert rekey(server)["packs_rekeyed"] == 0
    assert server.stop() == 0
    check_secret(vault)


def test_a_plain_store_is_encrypted_later(vault: Vault, tmp_path: Path) -> None:
    """What is there stays readable and is shared by new copies; then all of it is encrypted."""
    before = vault.packs()
    (vault.root / "images").unlink()
    (vault.root / "images").mkdir()
    (vault.root / "images" / "again.raw").write_bytes(vault.disks["base"].read_bytes())
    server = serve(vault, write_keys(tmp_path, "a"))
    server.start()
    client = OfficialClient(server.profile)
    assert client.wait(client.copy("again", "again").id).WhichOneof("result") == "response"
    assert vault.packs() == before
    report = rekey(server)
    assert server.stop() == 0
    assert report["keys"] == {"": report["chunks_checked"]}
    check_sealed(vault)
    check_restored(vault, Restorer(tmp_path), write_keys(tmp_path, "a"))
