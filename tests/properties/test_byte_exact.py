"""Any disk, copied and exported through a real server, is what `qemu-img` reads from its source."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouddesktop.client import connect, export_image, image_id_of
from clouddesktop.model.manifest import CHUNK_SIZE
from parts.disks import convert, random_bytes, read_as_qemu, write_raw
from parts.server import ServerProcess

_numbers = itertools.count()


@dataclass(frozen=True)
class Layout:
    """A disk: its size, and pieces (offset, length, kind) of random, repeated or zero bytes."""

    size: int
    pieces: tuple[tuple[int, int, str], ...]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Sizes from nothing to several chunks, tails of any length, pieces across every border."""
    size = draw(
        st.one_of(
            st.just(0),
            st.integers(1, 2048),
            st.integers(1, 6).map(lambda chunks: chunks * CHUNK_SIZE),
            st.integers(1, 6 * CHUNK_SIZE),
        )
    )
    pieces = []
    for _ in range(draw(st.integers(0, 6)) if size else 0):
        offset = draw(st.integers(0, size - 1))
        length = draw(st.integers(1, min(size - offset, 2 * CHUNK_SIZE)))
        pieces.append((offset, length, draw(st.sampled_from(["random", "repeat", "zero"]))))
    return Layout(size, tuple(pieces))


qcow2_options = st.one_of(
    st.builds(
        lambda cluster, preallocation, compat: (
            "-o",
            f"cluster_size={cluster},preallocation={preallocation},compat={compat}",
        ),
        st.sampled_from(["512", "4k", "64k", "2M"]),
        st.sampled_from(["off", "metadata", "falloc", "full"]),
        st.sampled_from(["0.10", "1.1"]),
    ),
    st.builds(
        lambda cluster, kind: ("-c", "-o", f"cluster_size={cluster},compression_type={kind}"),
        st.sampled_from(["4k", "64k", "2M"]),
        st.sampled_from(["zlib", "zstd"]),
    ),
    st.just(("-S", "0")),
)


@dataclass(frozen=True)
class Desk:
    """A running server and the folders around it."""

    server: ServerProcess
    sources_dir: Path
    scratch: Path

    def copy_and_export(self, name: str) -> bytes:
        """Copy the compute image of this name and export the image: the way of the bytes, whole."""
        target = self.scratch / f"{name}.exported"

        async def go() -> None:
            async with connect(self.server.profile) as connection:
                operation = await connection.copy_image(compute_image_id=name, name=name)
                done = await connection.wait_operation(operation.id, poll_seconds=0.02)
                await export_image(connection, image_id_of(done), target)

        asyncio.run(go())
        try:
            return target.read_bytes()
        finally:
            target.unlink()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    root = tmp_path_factory.mktemp("exact")
    sources_dir = root / "images"
    sources_dir.mkdir()
    server = ServerProcess(data_dir=root / "data", sources={"images": sources_dir})
    server.start()
    yield Desk(server, sources_dir, root)
    assert server.stop() == 0


def write_layout(path: Path, layout: Layout) -> None:
    contents: dict[str, Callable[[int, int], bytes]] = {
        "random": lambda offset, length: random_bytes(length, seed=offset),
        "repeat": lambda _, length: (b"clouddesktop" * (length // 12 + 1))[:length],
        "zero": lambda _, length: bytes(length),
    }
    write_raw(
        path,
        size=layout.size,
        data={offset: contents[kind](offset, length) for offset, length, kind in layout.pieces},
    )


@settings(max_examples=80)
@given(layout=layouts())
def test_a_raw_disk_comes_out_as_it_went_in(desk: Desk, layout: Layout) -> None:
    """Holes, zero runs and odd tails included."""
    name = f"raw{next(_numbers)}"
    path = desk.sources_dir / f"{name}.raw"
    write_layout(path, layout)
    try:
        expected = read_as_qemu(path, disk_format="raw", scratch=desk.scratch)
        assert desk.copy_and_export(name) == expected
    finally:
        path.unlink()


@settings(max_examples=80)
@given(layout=layouts(), options=qcow2_options)
def test_a_qcow2_disk_comes_out_as_qemu_reads_it(
    desk: Desk, layout: Layout, options: tuple[str, ...]
) -> None:
    """Every cluster size, compression and preallocation."""
    name = f"qcow{next(_numbers)}"
    raw = desk.scratch / f"{name}.raw"
    path = desk.sources_dir / f"{name}.qcow2"
    write_layout(raw, layout)
    convert(raw, path, "-O", "qcow2", *options, source_format="raw")
    try:
        expected = read_as_qemu(path, disk_format="qcow2", scratch=desk.scratch)
        assert desk.copy_and_export(name) == expected
    finally:
        raw.unlink()
        path.unlink()


def test_another_format_on_the_way_out_holds_the_same_bytes(desk: Desk) -> None:
    """`image export --output-format` by the command line, compared by qemu-img itself."""
    path = desk.sources_dir / "formats.raw"
    write_layout(path, Layout(3 * CHUNK_SIZE, ((1000, CHUNK_SIZE, "random"),)))
    desk.copy_and_export("formats")
    for output_format in ("raw", "qcow2", "vmdk", "vdi", "vhdx"):
        target = desk.scratch / f"out.{output_format}"
        subprocess.run(
            [
                *("clouddesktop", "--profile", str(desk.server.profile), "image", "export"),
                *("formats", "--output", str(target), "--output-format", output_format),
            ],
            check=True,
            capture_output=True,
        )
        compared = subprocess.run(
            ["qemu-img", "compare", "-f", "raw", "-F", output_format, str(path), str(target)],
            check=False,
            capture_output=True,
            text=True,
        )
        assert compared.returncode == 0, compared.stdout + compared.stderr
