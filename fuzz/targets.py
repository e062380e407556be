"""What parses bytes of strangers in our own process, each as a function of some bytes.

A target returns, or raises an error of ours: anything else is a finding. Also what it says of the
bytes must hold.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from clouddesktop.disk import bridge
from clouddesktop.disk.gpt import find_gpt_disk_size
from clouddesktop.disk.probe import DiskFormat, probe_disk
from clouddesktop.disk.qcow2 import check_qcow2
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
    with contextlib.suppress(CloudDesktopError):
        assert check_vhdx(BytesFile(data)) >= 0


def vmdk(data: bytes) -> None:
    with contextlib.suppress(CloudDesktopError):
        assert check_vmdk(BytesFile(data)) >= 0


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


_TARGETS = (probe, qcow2, vdi, vhd, vhdx, vmdk, gpt, pack, manifest, chunk, nbd)
TARGETS: dict[str, Callable[[bytes], None]] = {each.__name__: each for each in _TARGETS}
