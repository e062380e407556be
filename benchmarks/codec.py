"""What hashing, zero tests, zstd and the store cost, by itself and in several threads.

uv run benchmarks/codec.py [--file FILE] [--size-mib N] [--rounds N] [--folder DIR]

Plain bytes per second, the best of the rounds. The data are those of a file, or of the shared
libraries that are installed, cut into chunks.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import zstandard

from clouddesktop.ids import PackId
from clouddesktop.model.manifest import CHUNK_SIZE
from clouddesktop.store.blobs import open_store
from clouddesktop.store.chunks import ChunkPlace, ChunkStore
from clouddesktop.store.codec import decode, digest_of, encode, is_zero
from clouddesktop.store.packs import PackWriter

MIB = 1 << 20
PACK_SIZE = 64 * MIB
Work = Callable[[memoryview], object]


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, help="whose bytes to use; default: shared libraries")
    parser.add_argument("--size-mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the store lies; default: /tmp")
    options = parser.parse_args()
    data = memoryview(read_sample(options.file, options.size_mib * MIB))
    chunks = [data[start : start + CHUNK_SIZE] for start in range(0, len(data), CHUNK_SIZE)]
    print(f"{len(data) / MIB:.0f} MiB in {len(chunks)} chunks, {os.cpu_count()} processors\n")
    print_codecs(chunks, rounds=options.rounds)
    print_threads(chunks, rounds=options.rounds)
    print_store(chunks, folder=options.folder)


def read_sample(file: Path | None, size: int) -> bytes:
    """Read at most `size` bytes of one file, or of the system's libraries."""
    if file is not None:
        with file.open("rb") as opened:
            return opened.read(size)
    sample = bytearray()
    for each in sorted(Path("/usr/lib").rglob("*.so*")):
        if len(sample) >= size:
            break
        if each.is_file() and not each.is_symlink():
            sample += each.read_bytes()
    return bytes(sample[:size])


def print_codecs(chunks: Sequence[memoryview], *, rounds: int) -> None:
    """Print the speed of each function in one thread, and what zstd's levels store."""
    size = sum(map(len, chunks))
    print("| one thread | GB/s | stored |\n|---|---|---|")
    zero_chunks = [memoryview(bytearray(CHUNK_SIZE))] * len(chunks)
    print(f"| BLAKE3 | {best(digest_of, chunks, rounds=rounds):.2f} | |")
    print(f"| is_zero, zeros | {best(is_zero, zero_chunks, rounds=rounds):.2f} | |")
    print(f"| is_zero, data | {best(is_zero, chunks, rounds=rounds):.0f} | |")
    for level in (1, 3):
        compress = compressor(level)
        stored = sum(len(compress(each)) for each in chunks) / size
        speed = best(compress, chunks, rounds=rounds)
        print(f"| zstd {level} | {speed:.2f} | {stored:.1%} |")
    encoded = {id(each): encode(each) for each in chunks}
    stored = sum(len(piece) for _, piece in encoded.values()) / size
    print(f"| encode | {best(encode, chunks, rounds=rounds):.2f} | {stored:.1%} |")

    def undo(chunk: memoryview) -> object:
        codec, piece = encoded[id(chunk)]
        return digest_of(decode(codec, piece, len(chunk)))

    print(f"| decode and verify | {best(undo, chunks, rounds=rounds):.2f} | |\n")


def print_threads(chunks: Sequence[memoryview], *, rounds: int) -> None:
    """Print how the work of a range's chunk scales with threads: does it let others run?"""
    print("| threads | BLAKE3 GB/s | zstd 1 GB/s | zstd 3 GB/s | zero + hash + encode GB/s |")
    print("|---|---|---|---|---|")

    def whole(chunk: memoryview) -> object:
        return is_zero(chunk) or (digest_of(chunk), encode(chunk))

    for threads in (1, 2, 3):
        speeds = [
            best(work, chunks, rounds=rounds, threads=threads)
            for work in (digest_of, compressor(1), compressor(3), whole)
        ]
        print(f"| {threads} | " + " | ".join(f"{speed:.2f}" for speed in speeds) + " |")
    print()


def print_store(chunks: Sequence[memoryview], *, folder: Path | None) -> None:
    """Print what a pack costs from chunks to disk, and reading it back; and the memory it takes."""
    with tempfile.TemporaryDirectory(prefix="clouddesktop-bench-", dir=folder) as name:
        store = ChunkStore(open_store(f"file://{name}/store"))
        step = PACK_SIZE // CHUNK_SIZE
        places: list[ChunkPlace] = []
        size = sum(map(len, chunks))
        before = reset_peak_memory()
        with timed() as seconds:
            for start in range(0, len(chunks), step):
                pack_id = PackId(f"bench/{start}")
                writer = PackWriter()
                for chunk in chunks[start : start + step]:
                    codec, stored = encode(chunk)
                    writer.add(digest_of(chunk), codec, stored, len(chunk))
                entries, data = writer.finish()
                store.put_pack(pack_id, data)
                places += [ChunkPlace(pack_id=pack_id, entry=entry) for entry in entries]
        print("| store, one thread | GB/s |\n|---|---|")
        print(f"| encode, pack, put with fsync | {size / seconds[0] / 1e9:.2f} |")
        after = peak_memory()
        with timed() as seconds:
            for start in range(0, len(places), 32):
                store.read_chunks(places[start : start + 32])
        print(f"| read and verify, 8 MiB at a time | {size / seconds[0] / 1e9:.2f} |")
        print(f"\nPeak memory grew by {(after - before) / MIB:.0f} MiB while packs were written.")


def compressor(level: int) -> Callable[[memoryview], bytes]:
    """Give a function that compresses at a level, with a context for each thread."""
    contexts = threading.local()

    def compress(chunk: memoryview) -> bytes:
        if not hasattr(contexts, "compressor"):
            contexts.compressor = zstandard.ZstdCompressor(level=level)
        compressed: bytes = contexts.compressor.compress(chunk)
        return compressed

    return compress


def best(work: Work, chunks: Sequence[memoryview], *, rounds: int, threads: int = 1) -> float:
    """Give the GB of plain bytes that pass in a second in the fastest round."""
    size = sum(map(len, chunks))

    def share(number: int) -> None:
        for chunk in chunks[number::threads]:
            work(chunk)

    fastest = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            with timed() as seconds:
                list(pool.map(share, range(threads)))
            fastest = min(fastest, seconds[0])
    return size / fastest / 1e9


@contextmanager
def timed() -> Iterator[list[float]]:
    """Put the seconds that the block took into the list, after it."""
    seconds: list[float] = []
    started = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - started)


def reset_peak_memory() -> int:
    """Let the kernel measure the peak afresh from what is resident now, and give that."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> int:
    """Give the largest resident size of this process since it was reset, in bytes."""
    status = Path("/proc/self/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
