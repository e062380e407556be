"""The pack format."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clouddesktop.errors import DataLossError
from clouddesktop.store.codec import Buffer, Codec, decode, digest_of, encode
from clouddesktop.store.packs import (
    DamagedPackError,
    PackBuffer,
    PackEntry,
    PackTooNewError,
    PackWriter,
    read_table,
)

FORMAT_DIGEST = "9053323497108faa60203a44203f1883e8f43e675288a93785849af0d95b5f29"

contents = st.lists(
    st.builds(
        lambda piece, count: piece * count, st.binary(min_size=1, max_size=40), st.integers(1, 200)
    ),
    max_size=12,
)


def write(plains: Sequence[bytes]) -> tuple[Sequence[PackEntry], bytes]:
    """Make a pack of these chunks."""
    writer = PackWriter()
    for plain in plains:
        codec, stored = encode(plain)
        writer.add(digest_of(plain), codec, stored, len(plain))
    entries, data = writer.finish()
    assert writer.size == len(data)
    return entries, bytes(data)


def fetching(data: bytes) -> Callable[[int, int], Buffer]:
    """Read ranges of a pack, and see that none goes past its end."""

    def fetch(offset: int, length: int) -> Buffer:
        assert 0 <= offset < offset + length <= len(data)
        return data[offset : offset + length]

    return fetch


def read_whole(data: bytes) -> list[bytes]:
    """Rebuild the index from the pack alone and read every chunk, verified."""
    plains = []
    for entry in read_table(fetching(data), size=len(data)):
        plain = decode(entry.codec, data[entry.offset : entry.end], entry.plain_size)
        if digest_of(plain) != entry.digest:
            raise DataLossError("Another digest.")
        plains.append(plain)
    return plains


@given(plains=contents)
def test_the_index_is_rebuilt_from_the_pack(plains: list[bytes]) -> None:
    """The table says what the writer said, and leads to every chunk."""
    entries, data = write(plains)
    assert tuple(entries) == read_table(fetching(data), size=len(data))
    assert read_whole(data) == plains


def test_a_table_longer_than_the_first_read() -> None:
    """A thousand chunks, as a pack of nearly known content has."""
    plains = [b"%d" % number for number in range(1000)]
    _, data = write(plains)
    assert read_whole(data) == plains


@given(plains=contents, data=st.data(), bit=st.integers(0, 7))
@example(plains=[b"a" * 500], data=None, bit=0)
def test_a_flipped_bit_is_noticed(
    plains: list[bytes], data: st.DataObject | None, bit: int
) -> None:
    """Anywhere in the pack; only a bit that zstd has no use for may pass, with the right bytes."""
    _, pack = write(plains)
    places = range(len(pack)) if data is None else [data.draw(st.integers(0, len(pack) - 1))]
    for place in places:
        damaged = bytearray(pack)
        damaged[place] ^= 1 << bit
        try:
            assert read_whole(bytes(damaged)) == plains
        except DataLossError:
            continue
        entry = next(
            each
            for each in read_table(fetching(pack), size=len(pack))
            if each.offset <= place < each.end
        )
        assert entry.codec != 0, "stored bytes that are not compressed have no useless bits"


@given(plains=contents, data=st.data())
def test_a_cut_pack_is_noticed(plains: list[bytes], data: st.DataObject) -> None:
    """Whatever is missing at its end."""
    _, pack = write(plains)
    cut = pack[: data.draw(st.integers(0, len(pack) - 1))]
    with pytest.raises(DamagedPackError):
        read_table(fetching(cut), size=len(cut))
    with pytest.raises(DamagedPackError):
        read_table(fetching(cut + bytes(len(pack) - len(cut))), size=len(pack))


@given(junk=st.binary(max_size=300))
def test_junk_is_no_pack(junk: bytes) -> None:
    """Nothing but DamagedPackError comes out of nonsense."""
    with pytest.raises(DamagedPackError):
        read_table(fetching(junk), size=len(junk))


@pytest.mark.parametrize(
    "change",
    [
        {"offset": 17},
        {"stored_size": 0},
        {"stored_size": 1 << 31},
        {"plain_size": 0},
        {"plain_size": 1 << 31},
        {"codec": 9},
    ],
)
def test_a_table_with_the_right_checksum_is_checked_too(change: dict[str, int]) -> None:
    """A faulty writer's table does not lead a reader astray."""
    values = {"offset": 16, "stored_size": 1, "plain_size": 1, "codec": 0} | change
    header = struct.pack("<8sII", b"CDPACK\r\n", 1, 0)
    table = struct.pack("<32sQIII", bytes(32), *values.values())
    place = struct.pack("<QII", 17, 1, 1)
    checksum = digest_of(header + table + place)
    pack = header + b"x" + table + place + checksum + b"CDPACKED"
    with pytest.raises(DamagedPackError, match="entry 0"):
        read_table(fetching(pack), size=len(pack))


def test_a_later_version_is_told_from_damage() -> None:
    """The versions at both ends agree: a newer program wrote it."""
    _, data = write([b"chunk"])
    later = bytearray(data)
    later[8] = later[-44] = 3
    with pytest.raises(PackTooNewError, match="version 3"):
        read_table(fetching(bytes(later)), size=len(later))
    later[8] = 1
    with pytest.raises(DamagedPackError):
        read_table(fetching(bytes(later)), size=len(later))
    later[8] = later[-44] = 0
    with pytest.raises(DamagedPackError, match="no release has written its version, 0"):
        read_table(fetching(bytes(later)), size=len(later))


def test_the_writer_lets_go() -> None:
    """A finished pack can be neither added to nor changed, and a chunk's buffer may be reused."""
    assert PackWriter().is_empty
    writer = PackWriter()
    buffer = bytearray(b"first")
    codec, stored = encode(memoryview(buffer))
    writer.add(digest_of(buffer), codec, stored, len(buffer))
    buffer[:] = b"other"
    assert not writer.is_empty
    _, data = writer.finish()
    assert read_whole(bytes(data)) == [b"first"]
    assert memoryview(data).readonly
    with pytest.raises(RuntimeError):
        writer.add(digest_of(b"x"), codec, b"x", 1)
    with pytest.raises(RuntimeError):
        writer.finish()


@pytest.mark.parametrize(("stored", "plain_size"), [(b"", 1), (b"x", 0), (b"x", 1 << 30)])
def test_the_writer_refuses_impossible_chunks(stored: bytes, plain_size: int) -> None:
    """What no reader would take is never written."""
    codec, _ = encode(b"")
    with pytest.raises(ValueError, match="chunk"):
        PackWriter().add(digest_of(b""), codec, stored, plain_size)


def test_the_format_does_not_change() -> None:
    """Packs of version 1 are read for ever: these are its bytes."""
    _, data = write([b"clouddesktop", bytes(range(48))])
    assert digest_of(data).hex() == FORMAT_DIGEST


def test_a_buffer_serves_one_pack_after_another() -> None:
    """A pack is the same in a buffer that has held a longer one, and in one that has to grow."""
    buffer = PackBuffer()
    chunks = [os.urandom(5 << 20) for _ in range(5)]
    for plains in (chunks, chunks[:1], chunks[2:]):
        packs = []
        for writer in (PackWriter(buffer=buffer), PackWriter()):
            for plain in plains:
                writer.add(digest_of(plain), Codec.PLAIN, plain, len(plain))
            entries, data = writer.finish()
            packs.append((entries, bytes(data)))
        assert packs[0] == packs[1]
        assert [packs[0][1][each.offset : each.end] for each in packs[0][0]] == plains
