"""What parses bytes of strangers in our own process, each as a function of some bytes.

A target returns, or raises an error of ours: anything else is a finding. Also what it says of the
bytes must hold.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import logging
import lzma
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import zstandard

from clouddesktop.disk import bridge
from clouddesktop.disk.gpt import find_gpt_disk_size
from clouddesktop.disk.ova import find_disk, is_ova
from clouddesktop.disk.probe import DiskFormat, probe_disk
from clouddesktop.disk.qcow2 import check_qcow2
from clouddesktop.disk.spool import Spool
from clouddesktop.disk.unpack import find_compression, unpack
from clouddesktop.disk.vdi import check_vdi
from clouddesktop.disk.vhd import check_vhd
from clouddesktop.disk.vhdx import check_vhdx
from clouddesktop.disk.vmdk import check_vmdk
from clouddesktop.errors import CloudDesktopError, DataLossError
from clouddesktop.model.manifest import Extent
from clouddesktop.store.codec import Codec, decode
from clouddesktop.store.manifests import decode_manifest, encode_manifest
from clouddesktop.store.packs import read_table

logging.disable(logging.ERROR)  # the inspector writes a line about each file


class BytesFile:
    """A disk file that is some bytes."""

    name = "fuzzed"
    fd = None

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content)

    def read_at(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        return self._content[offset : offset + length]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        piece = self.read_at(offset, len(buffer))
        assert len(piece) == len(buffer), "it reads past the end"
        buffer[:] = piece

    def iter_extents(self) -> Iterator[Extent]:
        yield Extent(offset=0, length=self.size)


class PlacedFile(BytesFile):
    """A disk file that is some pieces with zeros between, each at its place."""

    def __init__(self, pieces: Mapping[int, bytes], *, size: int) -> None:
        super().__init__(b"")
        self._pieces = pieces
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        buffer = bytearray(max(0, min(length, self._size - offset)))
        for place, piece in self._pieces.items():
            start, end = max(place, offset), min(place + len(piece), offset + len(buffer))
            if start < end:
                buffer[start - offset : end - offset] = piece[start - place : end - place]
        return bytes(buffer)


class OneWaySocket:
    """A client of the bridge that has sent some bytes and hung up."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent
        self.answered = 0

    def recv(self, size: int) -> bytes:
        piece, self._sent = self._sent[:size], self._sent[size:]
        return piece

    def sendall(self, data: bytes) -> None:
        self.answered += len(data)


def probe(data: bytes) -> None:
    with contextlib.suppress(CloudDesktopError):
        assert probe_disk(BytesFile(data)) in DiskFormat


def qcow2(data: bytes) -> None:
    with contextlib.suppress(CloudDesktopError):
        assert check_qcow2(BytesFile(data)) >= 0


def vdi(data: bytes) -> None:
    with contextlib.suppress(CloudDesktopError):
        assert check_vdi(BytesFile(data)) >= 0


def vhd(data: bytes) -> None:
    with contextlib.suppress(CloudDesktopError):
        check_vhd(BytesFile(data))


def vhdx(data: bytes) -> None:
    # The tables are far apart: here, one after the other.
    pieces = {
        192 << 10: data[:1024],  # regions
        1 << 20: data[1024:2048],  # metadata
        (1 << 20) + (64 << 10): data[2048:2560],  # their values
        2 << 20: data[2560:],  # block table
    }
    with contextlib.suppress(CloudDesktopError):
        assert check_vhdx(PlacedFile(pieces, size=16 << 20)) >= 0


def vmdk(data: bytes) -> None:
    with contextlib.suppress(CloudDesktopError):
        assert check_vmdk(BytesFile(data)) >= 0


_ARCHIVE_HEADER = re.compile(rb"(?s)(?=.{257}ustar)")
_CHECKSUM = slice(148, 156)


def ova(data: bytes) -> None:
    # A fuzzer does not find the sums of headers, so they are put right.
    archive = bytearray(data)
    for start in range(0, len(archive), 512):
        header = archive[start : start + 512]
        if _ARCHIVE_HEADER.match(header):
            header[_CHECKSUM] = b" " * 8
            archive[start : start + 512] = (
                header[: _CHECKSUM.start] + b"%06o\0 " % sum(header) + header[_CHECKSUM.stop :]
            )
    file = BytesFile(bytes(archive))
    with contextlib.suppress(CloudDesktopError):
        if is_ova(file):
            window = find_disk(file)
            assert 0 <= window.offset <= window.offset + window.size <= file.size


_SPOOL = Spool(Path(__file__).parents[1] / ".fuzz" / "spool", most_bytes=4 << 20)
_MOST_WRITES = 64  # 16 MiB each at most, of zeros
_MOST_COMPARED = 16 << 20


class _EnoughError(CloudDesktopError):
    reason = "ENOUGH"


def _unpacked(data: bytes, compression: str, oracle: Callable[[bytes], bytes]) -> None:
    """What comes out must begin as the library's own function says, in bounded steps.

    Those of xz and bzip2 end silently at padding, so more may come.
    """
    writes = 0

    def count() -> None:
        nonlocal writes
        writes += 1
        if writes > _MOST_WRITES:
            raise _EnoughError("Enough.")

    file = BytesFile(data)
    if find_compression(file) != compression:
        return
    with (
        contextlib.suppress(CloudDesktopError),
        _SPOOL.open_file("fuzzed", check_alive=count) as spool_file,
    ):
        plain = unpack(file, compression, spool_file)
        if plain.size <= _MOST_COMPARED:
            whole = plain.read_at(0, plain.size)
            expected = oracle(data)
            assert whole.startswith(expected)
            assert whole == expected or compression in ("xz", "bzip2")


def gz(data: bytes) -> None:
    _unpacked(data, "gzip", gzip.decompress)


def xz(data: bytes) -> None:
    def whole(packed: bytes) -> bytes:
        # It takes padding for the head of another stream.
        return lzma.decompress(packed.rstrip(b"\0"), lzma.FORMAT_XZ)

    _unpacked(data, "xz", whole)


def bz(data: bytes) -> None:
    _unpacked(data, "bzip2", bz2.decompress)


def zst(data: bytes) -> None:
    def whole(packed: bytes) -> bytes:
        decompressor = zstandard.ZstdDecompressor(max_window_size=128 << 20)
        with decompressor.stream_reader(io.BytesIO(packed), read_across_frames=True) as reader:
            return reader.read()

    _unpacked(data, "zstd", whole)


def gpt(data: bytes) -> None:
    size = find_gpt_disk_size(BytesFile(data))
    assert size is None or size > 0


def pack(data: bytes) -> None:
    def fetch(offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= len(data), "it reads past the end"
        return data[offset : offset + length]

    with contextlib.suppress(CloudDesktopError):
        for entry in read_table(fetch, size=len(data)):
            assert 0 < entry.offset < entry.end <= len(data)


def manifest(data: bytes) -> None:
    with contextlib.suppress(CloudDesktopError):
        assert encode_manifest(decode_manifest(data)) == data


def chunk(data: bytes) -> None:
    plain_size = int.from_bytes(data[:3])
    with contextlib.suppress(DataLossError):
        assert len(decode(Codec(data[3] % 2 if len(data) > 3 else 0), data[4:], plain_size)) == (  # noqa: PLR2004
            plain_size
        )


def nbd(data: bytes) -> None:
    client = OneWaySocket(data)
    with contextlib.suppress(bridge._ProtocolError):
        if bridge._negotiate(client, size=1000):  # type: ignore[arg-type]
            while (request := bridge._receive_request(client)) is not None:  # type: ignore[arg-type]
                _, _, length = request
                assert length <= bridge.MAX_REQUEST_SIZE
    assert client.answered <= 18 + 106 * (len(data) // 16)


_DISKS = (probe, qcow2, vdi, vhd, vhdx, vmdk, gpt)
_WRAPPERS = (ova, gz, xz, bz, zst)
_TARGETS = (*_DISKS, *_WRAPPERS, pack, manifest, chunk, nbd)
TARGETS: dict[str, Callable[[bytes], None]] = {each.__name__: each for each in _TARGETS}
