"""docs/store-format.md is enough to write a restorer: this one shares no code with the store."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import zstandard
from blake3 import blake3

from clouddesktop.ids import PackId
from clouddesktop.model.manifest import Manifest
from clouddesktop.store.blobs import open_store
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.codec import digest_of, encode
from clouddesktop.store.manifests import ManifestStore
from clouddesktop.store.packs import PackWriter

CHUNK = 256 << 10


def restore(store: Path, manifest: str) -> bytes:
    """Read one disk out of a store, as the document says."""
    mark = json.loads((store / "format.json").read_text())
    assert (mark["format"], mark["version"]) == ("clouddesktop-store", 1)
    index: dict[bytes, tuple[Path, int, int, int, int]] = {}
    for path in (store / "packs").glob("*/*"):
        for digest, offset, stored_size, plain_size, codec in read_table(path.read_bytes()):
            index[digest] = (path, offset, stored_size, plain_size, codec)
    blob = (store / "manifests" / manifest[:2] / manifest).read_bytes()
    encoding = read_manifest(blob, manifest)
    version, chunk_size, size, chunk_count, run_count = struct.unpack_from("<IIQQQ", encoding)
    assert version == 1
    runs = list(struct.iter_unpack("<QQ", encoding[32 : 32 + 16 * run_count]))
    digests = encoding[32 + 16 * run_count :]
    assert len(digests) == 32 * chunk_count
    disk = bytearray(size)
    numbers = [number for first, count in runs for number in range(first, first + count)]
    for place, number in enumerate(numbers):
        digest = digests[32 * place : 32 * place + 32]
        path, offset, stored_size, plain_size, codec = index[digest]
        stored = path.read_bytes()[offset : offset + stored_size]
        plain = decoded(codec, stored)
        assert len(plain) == plain_size
        assert blake3(plain).digest() == digest
        disk[number * chunk_size : number * chunk_size + plain_size] = plain
    assert len(disk) == size
    return bytes(disk)


def read_table(pack: bytes) -> list[tuple[bytes, int, int, int, int]]:
    """Read and check a pack's table of contents."""
    assert pack[:16] == b"CDPACK\r\n" + struct.pack("<II", 1, 0)
    assert pack[-8:] == b"CDPACKED"
    offset, count, version = struct.unpack("<QII", pack[-56:-40])
    assert version == 1
    table = pack[offset : offset + 52 * count]
    assert blake3(pack[:16] + table + pack[-56:-40]).digest() == pack[-40:-8]
    return list(struct.iter_unpack("<32sQIII", table))


def read_manifest(blob: bytes, name: str) -> bytes:
    """Take a manifest's encoding out of its blob and check it."""
    magic, version, codec, size = struct.unpack("<8sIIQ", blob[:24])
    assert (magic, version) == (b"CDMANIF\n", 1)
    assert blake3(blob[:24] + blob[56:]).digest() == blob[24:56]
    encoding = decoded(codec, blob[56:])
    assert len(encoding) == size
    assert blake3(encoding).hexdigest() == name
    return encoding


def decoded(codec: int, stored: bytes) -> bytes:
    """Undo codec 0 or 1."""
    return stored if codec == 0 else zstandard.decompress(stored)


def test_a_restorer_written_from_the_document_reads_a_store(tmp_path: Path) -> None:
    """Two packs, both codecs, holes, a repeated chunk and a short tail."""
    noise = random.Random(1).randbytes(CHUNK)  # noqa: S311  (test data)
    text = (b"some words " * CHUNK)[:CHUNK]
    pieces = [noise, bytes(CHUNK), text, noise, bytes(CHUNK * 3), text[:CHUNK] + b"tail"]
    disk = b"".join(pieces)
    blobs = open_store(f"file://{tmp_path}")
    chunks = ChunkStore(blobs)
    content = {}
    for number in range(-(-len(disk) // CHUNK)):
        plain = disk[number * CHUNK : (number + 1) * CHUNK]
        if any(plain):
            content[number] = digest_of(plain)
            writer = PackWriter()
            codec, stored = encode(plain)
            writer.add(content[number], codec, stored, len(plain))
            chunks.put_pack(PackId(f"e3o1/{number:06d}-1-1"), writer.finish()[1])
    manifest = Manifest(size=len(disk), chunk_size=CHUNK, chunks=content)
    digest = ManifestStore(blobs).put(manifest)
    assert restore(tmp_path, digest.hex()) == disk
