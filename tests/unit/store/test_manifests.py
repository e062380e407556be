"""Manifests: one encoding for one content, checked in every part."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from clouddesktop.errors import DataLossError
from clouddesktop.ids import Digest
from clouddesktop.model.manifest import CHUNK_SIZE, Manifest
from clouddesktop.store.blobs import BlobStore, open_store
from clouddesktop.store.codec import digest_of
from clouddesktop.store.manifests import (
    ChunkDigests,
    DamagedManifestError,
    ManifestBlob,
    ManifestStore,
    ManifestTooNewError,
    decode_manifest,
    encode_manifest,
)

FORMAT_DIGEST = "8dd31888c34c3a3d193d0bb893e5df3c88c83fa5ab2c6edda387694932be4fc2"

digests = st.binary(min_size=32, max_size=32).map(Digest)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Draw manifests of small disks with some chunks that are not zero."""
    chunk_size = draw(st.sampled_from([512, 4096, CHUNK_SIZE]))
    size = draw(st.integers(0, 40 * chunk_size))
    most = -(-size // chunk_size)
    numbers = sorted(draw(st.sets(st.integers(0, most - 1)))) if most else []
    known = draw(st.lists(digests, min_size=1, max_size=5))
    return Manifest(
        size=size,
        chunk_size=chunk_size,
        chunks={number: draw(st.sampled_from(known)) for number in numbers},
    )


def key_of(digest: Digest) -> str:
    return f"manifests/{digest.hex()[:2]}/{digest.hex()}"


@given(manifest=manifests())
def test_what_is_put_comes_back(manifest: Manifest) -> None:
    """Equal, in ascending order, under the digest of its encoding."""
    store = ManifestStore(BlobStore(MemoryStore(), name="memory"))
    digest = store.put(manifest)
    assert digest == digest_of(encode_manifest(manifest))
    found = store.get(digest)
    assert (found.size, found.chunk_size) == (manifest.size, manifest.chunk_size)
    assert found.chunks == manifest.chunks
    assert list(found.chunks) == list(manifest.chunks)
    assert len(found.chunks) == len(manifest.chunks)
    assert store.put(found) == digest


@given(manifest=manifests(), data=st.data())
def test_one_content_has_one_encoding(manifest: Manifest, data: st.DataObject) -> None:
    """Whatever the order in which its chunks were found; another content has another."""
    order = data.draw(st.permutations(list(manifest.chunks)))
    shuffled = Manifest(
        size=manifest.size,
        chunk_size=manifest.chunk_size,
        chunks={number: manifest.chunks[number] for number in order},
    )
    assert encode_manifest(shuffled) == encode_manifest(manifest)
    larger = Manifest(
        size=manifest.size + 1, chunk_size=manifest.chunk_size, chunks=manifest.chunks
    )
    assert encode_manifest(larger) != encode_manifest(manifest)


@given(manifest=manifests(), chunk=st.integers(-3, 50))
def test_chunks_are_found_by_number(manifest: Manifest, chunk: int) -> None:
    """The compact mapping answers as a dict does."""
    compact = decode_manifest(encode_manifest(manifest)).chunks
    assert isinstance(compact, ChunkDigests)
    assert compact.get(chunk) == manifest.chunks.get(chunk)
    assert (chunk in compact) == (chunk in manifest.chunks)


@given(manifest=manifests(), data=st.data(), flip=st.integers(1, 255))
def test_a_flipped_byte_is_noticed(manifest: Manifest, data: st.DataObject, flip: int) -> None:
    """Anywhere in the blob; putting the manifest again heals it."""
    backing = MemoryStore()
    store = ManifestStore(BlobStore(backing, name="memory"))
    digest = store.put(manifest)
    whole = bytes(backing.get(key_of(digest)).bytes())
    blob = bytearray(whole)
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= flip
    backing.put(key_of(digest), bytes(blob))
    with pytest.raises(DamagedManifestError, match=digest.hex()):
        store.get(digest)
    assert store.put(manifest) == digest
    assert bytes(backing.get(key_of(digest)).bytes()) == whole


@given(manifest=manifests(), data=st.data())
def test_a_cut_manifest_is_noticed(manifest: Manifest, data: st.DataObject) -> None:
    """Whatever is missing at its end, or follows it; putting the manifest again heals it."""
    backing = MemoryStore()
    store = ManifestStore(BlobStore(backing, name="memory"))
    digest = store.put(manifest)
    whole = bytes(backing.get(key_of(digest)).bytes())
    for blob in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\0"):
        backing.put(key_of(digest), blob)
        with pytest.raises(DamagedManifestError):
            store.get(digest)
        store.put(manifest)
        assert bytes(backing.get(key_of(digest)).bytes()) == whole


@given(first=manifests(), second=manifests())
def test_another_manifest_under_the_name_is_noticed(first: Manifest, second: Manifest) -> None:
    """A whole manifest is not enough: it must be the one that the digest names."""
    backing = MemoryStore()
    store = ManifestStore(BlobStore(backing, name="memory"))
    one, other = store.put(first), store.put(second)
    backing.put(key_of(one), bytes(backing.get(key_of(other)).bytes()))
    if one == other:
        assert store.get(one) == first
    else:
        with pytest.raises(DamagedManifestError, match="another digest"):
            store.get(one)


@given(junk=st.binary(max_size=200), version=st.booleans())
def test_junk_is_no_manifest(junk: bytes, version: bool) -> None:
    """Nothing but DataLossError comes out of nonsense."""
    plain = struct.pack("<I", 1) + junk if version else junk
    try:
        manifest = decode_manifest(plain)
    except (DataLossError, ManifestTooNewError):
        return
    assert encode_manifest(manifest) == plain


@pytest.mark.parametrize(
    ("runs", "count"),
    [
        ([(0, 0)], 0),
        ([(0, 1), (1, 1)], 2),
        ([(2, 1), (0, 1)], 2),
        ([(0, 2), (1, 2)], 4),
        ([(3, 2)], 2),
        ([(1 << 63, 1)], 1),
        ([(0, 1)], 2),
    ],
)
def test_runs_that_no_writer_makes_are_refused(runs: list[tuple[int, int]], count: int) -> None:
    """Empty, touching, out of order, overlapping, past the end, of another number."""
    plain = b"".join(
        [
            struct.pack("<IIQQQ", 1, 512, 4 * 512, count, len(runs)),
            *(struct.pack("<QQ", *run) for run in runs),
            bytes(32 * count),
        ]
    )
    with pytest.raises(DamagedManifestError):
        decode_manifest(plain)


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest(size=1, chunk_size=512, chunks={1: Digest(bytes(32))}),
        Manifest(size=1, chunk_size=512, chunks={-1: Digest(bytes(32))}),
        Manifest(size=0, chunk_size=512, chunks={0: Digest(bytes(32))}),
        Manifest(size=1, chunk_size=512, chunks={0: Digest(b"short")}),
        Manifest(size=1, chunk_size=0, chunks={}),
        Manifest(size=-1, chunk_size=512, chunks={}),
    ],
)
def test_impossible_manifests_are_not_written(manifest: Manifest) -> None:
    """What no reader would take is a mistake of the caller."""
    with pytest.raises(ValueError, match=r"disk|digest"):
        encode_manifest(manifest)


def test_a_later_version_is_told_from_damage() -> None:
    """The checksum is right, the version is not ours."""
    backing = MemoryStore()
    store = ManifestStore(BlobStore(backing, name="memory"))
    head = struct.pack("<8sIIQ", b"CDMANIF\n", 3, 0, 3)
    backing.put(key_of(Digest(bytes(32))), head + digest_of(head + b"new") + b"new")
    with pytest.raises(ManifestTooNewError, match="version 3"):
        store.get(Digest(bytes(32)))


def test_a_missing_manifest_is_damage(tmp_path: Path) -> None:
    """The catalogue says that it should be there."""
    store = ManifestStore(open_store(f"file://{tmp_path}"))
    with pytest.raises(DamagedManifestError, match="missing"):
        store.get(Digest(bytes(32)))


def test_the_format_does_not_change() -> None:
    """Manifests of version 1 are read for ever: the digest of this one is its address."""
    manifest = Manifest(
        size=5 * CHUNK_SIZE + 512,
        chunk_size=CHUNK_SIZE,
        chunks={number: digest_of(bytes([number])) for number in (0, 1, 3, 5)},
    )
    assert digest_of(encode_manifest(manifest)).hex() == FORMAT_DIGEST


def test_blobs_of_one_manifest_do_not_touch(tmp_path: Path) -> None:
    """Each writer has its own; any whole one answers, and a delete takes only the one it names."""
    store = ManifestStore(open_store(f"file://{tmp_path}"))
    manifest = Manifest(size=CHUNK_SIZE, chunk_size=CHUNK_SIZE, chunks={0: digest_of(b"a")})
    digest = store.put(manifest, writer="one-1")
    assert store.put(manifest, writer="two-1") == store.put(manifest) == digest
    blobs = {ManifestBlob(digest, writer) for writer in ("", "one-1", "two-1")}
    assert set(store.iter_blobs()) == blobs
    assert len({store.size(each) for each in blobs}) == 1
    (tmp_path / key_of(digest)).write_bytes(b"damaged")
    (tmp_path / "manifests/README").write_bytes(b"foreign")
    assert not store.is_whole(ManifestBlob(digest, ""))
    assert encode_manifest(store.get(digest)) == encode_manifest(manifest)
    store.delete(ManifestBlob(digest, "one-1"))
    assert store.is_whole(ManifestBlob(digest, "two-1"))
    store.delete(ManifestBlob(digest, "two-1"))
    with pytest.raises(DamagedManifestError, match="too short"):
        store.get(digest)
    store.delete(ManifestBlob(digest, ""))
    assert store.size(ManifestBlob(digest, "")) == 0
    with pytest.raises(DamagedManifestError, match="missing"):
        store.get(digest)
