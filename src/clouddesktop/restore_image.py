#!/usr/bin/env python3
"""Restore images from a store without server and database: one file that needs no other of ours.

    python restore_image.py STORE                            lists what can be restored
    python restore_image.py STORE DIGEST --output DISK.raw   restores one

Needs Python 3.11, `blake3` and `zstandard`; and `cryptography` for an encrypted store, whose keys
`--keys FILE` names. Reads only; follows docs/store-format.md, by which it can be checked or written
anew. Nothing is believed: each digest is computed again, and what doesn't match is not written.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import zstandard
from blake3 import blake3

STORE_VERSION = 1
PACK_VERSION = 2
MANIFEST_VERSION = 2
PLAIN, ZSTD, SEALED_PLAIN, SEALED_ZSTD = range(4)
MOST_PLAIN = 64 << 20

SEAL = struct.Struct("<16s8s12s")
TAG_SIZE = 16
KEY_CHECK_CONTEXT = "clouddesktop 2026-11-25 key check"


class RestoreError(Exception):
    """Something cannot be restored; the text says what and why, in a sentence."""


class Place(NamedTuple):
    """Where a chunk's stored bytes lie."""

    pack: Path
    offset: int
    stored_size: int
    plain_size: int
    codec: int


@dataclass(frozen=True)
class Manifest:
    """Which chunks a disk consists of."""

    digest: bytes
    chunk_size: int
    disk_size: int
    runs: Sequence[tuple[int, int]]
    digests: memoryview

    @property
    def data_size(self) -> int:
        """Bytes of the chunks that are not zero, the last one counted as whole."""
        return len(self.digests) // 32 * self.chunk_size

    def iter_chunks(self) -> Iterator[tuple[int, bytes]]:
        """Go through the numbers and digests of the chunks."""
        start = 0
        for first, count in self.runs:
            for number in range(first, first + count):
                yield number, bytes(self.digests[start : start + 32])
                start += 32


def read_keys(path: Path) -> dict[str, bytes]:
    """Read a key file: lines of `id: base64 of 32 bytes`; # begins a comment."""
    keys: dict[str, bytes] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name, _, value = text.partition(":")
        try:
            key = base64.b64decode(value.strip(), validate=True)
        except ValueError:
            key = b""
        if len(key) != 32:  # noqa: PLR2004  (AES-256)
            raise RestoreError(f"Line {number} of {path} is not `id: base64 of 32 bytes`.")
        keys[name.strip()] = key
    return keys


def unseal(
    codec: int, stored: bytes, digest: bytes, plain_size: int, keys: Mapping[str, bytes]
) -> tuple[int, bytes]:
    """Decrypt stored bytes; those of the codecs 0 and 1 come back as they are."""
    if codec not in {SEALED_PLAIN, SEALED_ZSTD}:
        return codec, stored
    if len(stored) < SEAL.size + TAG_SIZE:
        raise RestoreError("the encrypted bytes are too few")
    name, check, nonce = SEAL.unpack_from(stored)
    key_id = name.rstrip(b"\0").decode("ascii", "replace")
    if key_id not in keys:
        raise RestoreError(f"it needs the key {key_id!r}, which --keys does not give")
    key = keys[key_id]
    if blake3(key, derive_key_context=KEY_CHECK_CONTEXT).digest(8) != check:
        raise RestoreError(f"it needs another key {key_id!r} than the one that --keys gives")
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  (encrypted stores only)
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  (the same)

    bound = b"CDSEAL1\n" + stored[:24] + struct.pack("<IQ", codec, plain_size) + digest
    try:
        opened = AESGCM(key).decrypt(nonce, stored[SEAL.size :], bound)
    except InvalidTag as error:
        raise RestoreError("the encrypted bytes are damaged") from error
    return PLAIN if codec == SEALED_PLAIN else ZSTD, opened


def decode(
    codec: int, stored: bytes, digest: bytes, plain_size: int, keys: Mapping[str, bytes]
) -> bytes:
    """Give the plain bytes; they have the size and the digest that they should have."""
    codec, stored = unseal(codec, stored, digest, plain_size, keys)
    if codec == ZSTD:
        try:
            if plain_size > MOST_PLAIN or zstandard.frame_content_size(stored) != plain_size:
                raise RestoreError("it has another size")
            stored = zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise RestoreError(f"it cannot be decompressed ({error})") from error
    elif codec != PLAIN:
        raise RestoreError(f"its codec {codec} is unknown")
    if len(stored) != plain_size or blake3(stored).digest() != digest:
        raise RestoreError("its bytes have another digest")
    return stored


def read_table(pack: Path) -> Iterator[tuple[bytes, Place]]:
    """Read a pack's table of contents: digests and places."""
    size = pack.stat().st_size
    with pack.open("rb") as file:
        header = file.read(16)
        file.seek(max(size - 56, 0))
        footer = file.read(56)
        if size < 72 or header[:8] != b"CDPACK\r\n" or footer[48:] != b"CDPACKED":  # noqa: PLR2004
            raise RestoreError("its header or footer is not that of a pack")
        table_offset, count, version = struct.unpack_from("<QII", footer)
        if version != struct.unpack_from("<I", header, 8)[0]:
            raise RestoreError("its header and footer differ")
        if version > PACK_VERSION:
            raise RestoreError(f"it is of version {version}, this program reads {PACK_VERSION}")
        if table_offset + 52 * count + 56 != size:
            raise RestoreError("its table is not where the footer says")
        file.seek(table_offset)
        table = file.read(52 * count)
    if blake3(header + table + footer[:16]).digest() != footer[16:48]:
        raise RestoreError("its table has another checksum")
    for digest, offset, stored_size, plain_size, codec in struct.iter_unpack("<32sQIII", table):
        if stored_size > MOST_PLAIN + 64 or plain_size > MOST_PLAIN:
            raise RestoreError("its table makes no sense")
        yield digest, Place(pack, offset, stored_size, plain_size, codec)


def read_manifest(path: Path, keys: Mapping[str, bytes]) -> Manifest:
    """Read a manifest; its digest is the one in its name."""
    blob = path.read_bytes()
    name = bytes.fromhex(path.name[:64])
    if len(blob) < 56 or blob[:8] != b"CDMANIF\n":  # noqa: PLR2004
        raise RestoreError("it does not begin as a manifest does")
    version, codec, plain_size = struct.unpack_from("<IIQ", blob, 8)
    if blake3(blob[:24] + blob[56:]).digest() != blob[24:56]:
        raise RestoreError("it has another checksum")
    if version > MANIFEST_VERSION:
        raise RestoreError(f"it is of version {version}, this program reads {MANIFEST_VERSION}")
    plain = decode(codec, blob[56:], name, plain_size, keys)
    _, chunk_size, disk_size, chunk_count, run_count = struct.unpack_from("<IIQQQ", plain)
    start = 32 + 16 * run_count
    runs = list(struct.iter_unpack("<QQ", plain[32:start]))
    digests = memoryview(plain)[start:]
    if len(digests) != 32 * chunk_count or sum(count for _, count in runs) != chunk_count:
        raise RestoreError("its runs and digests do not fit")
    return Manifest(name, chunk_size, disk_size, runs, digests)


def find_places(store: Path, wanted: set[bytes]) -> dict[bytes, list[Place]]:
    """Find all places of the wanted chunks; a pack that cannot be read is told and passed over."""
    places: dict[bytes, list[Place]] = {}
    for pack in sorted((store / "packs").glob("*/*")):
        try:
            for digest, place in read_table(pack):
                if digest in wanted:
                    places.setdefault(digest, []).append(place)
        except (RestoreError, OSError) as error:
            say(f"Warning: the pack {pack} is passed over: {error}.")
    return places


def read_chunk(digest: bytes, places: Sequence[Place], keys: Mapping[str, bytes]) -> bytes:
    """Read a chunk from the first of its places that has it whole."""
    why = "no pack of the store has it"
    for place in places:
        try:
            with place.pack.open("rb") as file:
                file.seek(place.offset)
                stored = file.read(place.stored_size)
            return decode(place.codec, stored, digest, place.plain_size, keys)
        except (RestoreError, OSError) as error:
            why = f"in the pack {place.pack}, {error}"
    raise RestoreError(f"The chunk {digest.hex()} cannot be restored: {why}")


def find_manifest(store: Path, digest: str, keys: Mapping[str, bytes]) -> Manifest:
    """Read the manifest whose digest begins with `digest` from any whole blob of it."""
    blobs = [path for path in iter_manifests(store) if path.name.startswith(digest.lower())]
    if len({path.name[:64] for path in blobs}) > 1:
        raise RestoreError(f"Several manifests begin with {digest}: write more digits.")
    why = "there is none"
    for path in blobs:
        try:
            return read_manifest(path, keys)
        except (RestoreError, OSError) as error:
            why = f"{path}: {error}"
    raise RestoreError(f"The manifest {digest} cannot be read: {why}.")


def iter_manifests(store: Path) -> Iterator[Path]:
    """Go through the blobs of all manifests, by name."""
    return iter(sorted((store / "manifests").glob("[0-9a-f][0-9a-f]/" + "[0-9a-f]" * 64 + "*")))


def check_store(store: Path) -> None:
    """See that this is a store of a version that this program reads."""
    try:
        mark = json.loads((store / "format.json").read_text())
        name, version = mark["format"], int(mark["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RestoreError(f"{store} has no readable format.json, so it is no store.") from error
    if name != "clouddesktop-store" or version > STORE_VERSION:
        raise RestoreError(f"{store} is of the format {name!r}, version {version}: not read here.")


def list_images(store: Path, keys: Mapping[str, bytes]) -> int:
    """Print digest, size of the disk, size of its data and time of each manifest."""
    failed = 0
    write(f"{'DIGEST':64}  {'DISK BYTES':>14}  {'DATA BYTES':>14}  STORED (UTC)")
    for path in iter_manifests(store):
        try:
            manifest = read_manifest(path, keys)
        except (RestoreError, OSError) as error:
            say(f"Warning: the manifest {path} cannot be read: {error}.")
            failed += 1
            continue
        stored_at = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
        row = (manifest.digest.hex(), manifest.disk_size, manifest.data_size)
        write("{}  {:>14}  {:>14}".format(*row) + f"  {stored_at:%Y-%m-%d %H:%M}")
    return 1 if failed else 0


def restore(store: Path, digest: str, output: Path, keys: Mapping[str, bytes]) -> int:
    """Restore one disk to a sparse file, which appears under its name once it is whole."""
    if output.exists():
        raise RestoreError(f"{output} is there already: name another file.")
    manifest = find_manifest(store, digest, keys)
    places = find_places(store, {each for _, each in manifest.iter_chunks()})
    partial = output.with_name(f"{output.name}.partial")
    try:
        with partial.open("wb") as file:
            file.truncate(manifest.disk_size)
            for number, chunk in manifest.iter_chunks():
                plain = read_chunk(chunk, places.get(chunk, ()), keys)
                start = number * manifest.chunk_size
                if len(plain) != min(manifest.chunk_size, manifest.disk_size - start):
                    raise RestoreError(f"The chunk {chunk.hex()} does not fit its place {number}")
                file.seek(start)
                file.write(plain)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(output)
    finally:
        partial.unlink(missing_ok=True)
    say(f"Restored {manifest.digest.hex()}: a disk of {manifest.disk_size} bytes in {output}.")
    return 0


def write(line: str) -> None:
    """Print a line of the result."""
    sys.stdout.write(f"{line}\n")


def say(line: str) -> None:
    """Tell people something."""
    sys.stderr.write(f"{line}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; exit status 0 when all was well, 1 when not, 2 on wrong usage."""
    parser = argparse.ArgumentParser(description="Restore disks from a store of clouddesktop.")
    parser.add_argument("store", type=Path, help="the store's folder")
    parser.add_argument("digest", nargs="?", help="the manifest to restore; its first digits do")
    parser.add_argument("--output", type=Path, help="the raw file to write")
    parser.add_argument("--keys", type=Path, help="the key file of an encrypted store")
    given = parser.parse_args(arguments)
    if (given.digest is None) != (given.output is None):
        parser.error("DIGEST and --output go together; without them, the manifests are listed")
    try:
        keys = read_keys(given.keys) if given.keys else {}
        check_store(given.store)
        if given.digest is None:
            return list_images(given.store, keys)
        return restore(given.store, given.digest, given.output, keys)
    except (RestoreError, OSError) as error:
        say(f"Error: {str(error).rstrip('.')}.")
        return 1


if __name__ == "__main__":
    sys.exit(main())
