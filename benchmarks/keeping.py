"""What encryption and scrubbing cost, in one thread.

uv run benchmarks/keeping.py [--size-mib N] [--rounds N] [--folder DIR]

The data are those of the shared libraries that are installed, cut into chunks. GB/s of plain bytes
and, for packs, of the bytes that are stored; the best of the rounds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.codec import MIB, read_sample

from clouddesktop.catalog.scrubbing import ScrubPack
from clouddesktop.ids import PackId
from clouddesktop.keeping.pace import Pace
from clouddesktop.keeping.pack_check import PackChecker
from clouddesktop.model.manifest import CHUNK_SIZE, RANGE_SIZE
from clouddesktop.store.blobs import open_store
from clouddesktop.store.chunks import ChunkStore
from clouddesktop.store.codec import digest_of, encode
from clouddesktop.store.encryption import Key, KeyRing
from clouddesktop.store.packs import PackEntry

RING = KeyRing([Key("bench", os.urandom(32))])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the stores lie; default: /tmp")
    options = parser.parse_args()
    data = memoryview(read_sample(None, options.size_mib * MIB))
    chunks = [data[start : start + CHUNK_SIZE] for start in range(0, len(data), CHUNK_SIZE)]
    print(f"{len(data) / MIB:.0f} MiB in {len(chunks)} chunks\n")
    print_sealing(chunks, rounds=options.rounds)
    for name, ring in (("plain", KeyRing()), ("encrypted", RING)):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print_scrub(chunks, name, ring, folder=Path(folder), rounds=options.rounds)


def print_sealing(chunks: list[memoryview], *, rounds: int) -> None:
    """Seal and open the chunks as they are stored."""
    encoded = [(digest_of(each), *encode(each), len(each)) for each in chunks]
    stored_size = sum(len(stored) for _, _, stored, _ in encoded)
    sealed = [
        (digest, *RING.seal(codec, stored, digest=digest, plain_size=size), size)
        for digest, codec, stored, size in encoded
    ]

    def seal() -> None:
        for digest, codec, stored, size in encoded:
            RING.seal(codec, stored, digest=digest, plain_size=size)

    def reopen() -> None:
        for digest, codec, stored, size in sealed:
            RING.open(codec, stored, digest=digest, plain_size=size)

    def compress() -> None:
        for each in chunks:
            encode(each)

    plain_size = sum(len(each) for each in chunks)
    for name, work in (("seal", seal), ("open", reopen), ("compress", compress)):
        seconds = best(work, rounds)
        rates = plain_size / seconds / 1e9, stored_size / seconds / 1e9
        print(f"{name:22} {rates[0]:.2f} GB/s of plain bytes, {rates[1]:.2f} of stored ones")


def print_scrub(
    chunks: list[memoryview], name: str, ring: KeyRing, *, folder: Path, rounds: int
) -> None:
    """Check packs as a scrub does, without its rate and its database."""
    store = ChunkStore(open_store(f"file://{folder}"), keys=ring)
    per_pack = RANGE_SIZE // CHUNK_SIZE
    packs: list[tuple[ScrubPack, list[PackEntry]]] = []
    for number, start in enumerate(range(0, len(chunks), per_pack)):
        writer = store.new_pack()
        for each in chunks[start : start + per_pack]:
            writer.add(digest_of(each), *encode(each), len(each))
        entries, data = writer.finish()
        pack_id = PackId(f"bench/{number}")
        store.put_pack(pack_id, data)
        pack = ScrubPack(number, pack_id, len(memoryview(data)), None, None)
        packs.append((pack, list({each.digest: each for each in entries}.values())))
    checker = PackChecker(
        chunks=store,
        pace=Pace(bytes_per_second=0, is_copying=lambda: False, check=lambda: None),
        check_store=lambda: None,
    )

    def scrub() -> None:
        for pack, entries in packs:
            finding = checker.check(pack, indexed=entries, quarantined=())
            assert finding.damage is None

    seconds = best(scrub, rounds)
    plain_size = sum(each.plain_size for _, entries in packs for each in entries)
    stored_size = sum(each.stored_size for _, entries in packs for each in entries)
    rates = plain_size / seconds / 1e9, stored_size / seconds / 1e9
    print(f"scrub, {name:15} {rates[0]:.2f} GB/s of plain bytes, {rates[1]:.2f} of stored ones")


def best(work: Callable[[], object], rounds: int) -> float:
    """Give the shortest time that the work took, in seconds."""
    times = []
    for _ in range(rounds):
        started_at = time.perf_counter()
        work()
        times.append(time.perf_counter() - started_at)
    return min(times)


if __name__ == "__main__":
    main()
