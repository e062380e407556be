"""Digests, zero tests and compression."""

from __future__ import annotations

import contextlib
import random

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from clouddesktop.errors import DataLossError
from clouddesktop.model.manifest import CHUNK_SIZE
from clouddesktop.store.codec import MAX_PLAIN_SIZE, Codec, decode, digest_of, encode, is_zero

RANDOM = random.Random(1).randbytes(CHUNK_SIZE)  # noqa: S311  (test data)

chunks = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda piece, count: piece * count, st.binary(min_size=1, max_size=64), st.integers(1, 4000)
    ),
    st.builds(
        lambda start, length: RANDOM[start : start + length],
        st.integers(0, 999),
        st.integers(0, 9999),
    ),
)


@given(plain=chunks)
@example(plain=RANDOM)
@example(plain=bytes(CHUNK_SIZE))
def test_decoding_undoes_encoding(plain: bytes) -> None:
    """Whatever the bytes, and stored in no more than they take themselves."""
    codec, stored = encode(plain)
    assert len(stored) <= len(plain)
    assert decode(codec, stored, len(plain)) == plain


@given(plain=chunks, extra=st.integers(-5, 5).filter(bool))
def test_another_size_is_noticed(plain: bytes, extra: int) -> None:
    """A plain size that is too small or too large never passes."""
    codec, stored = encode(plain)
    with pytest.raises(DataLossError):
        decode(codec, stored, len(plain) + extra)


@given(plain=chunks, data=st.data())
def test_cut_bytes_are_noticed(plain: bytes, data: st.DataObject) -> None:
    """No beginning of the stored bytes passes for all of them, and nothing may follow them."""
    codec, stored = encode(plain)
    with pytest.raises(DataLossError):
        decode(codec, bytes(stored) + b"x", len(plain))
    if stored:
        cut = data.draw(st.integers(0, len(stored) - 1))
        with pytest.raises(DataLossError):
            decode(codec, stored[:cut], len(plain))


@given(stored=st.binary(max_size=400), size=st.integers(0, 400))
def test_any_bytes_decode_or_are_refused(stored: bytes, size: int) -> None:
    """Nothing but DataLossError comes out of nonsense, and never another size."""
    for junk in (stored, b"\x28\xb5\x2f\xfd" + stored):
        for codec in Codec:
            with contextlib.suppress(DataLossError):
                assert len(decode(codec, junk, size)) == size


def test_a_bomb_takes_no_memory() -> None:
    """A frame that says or makes more than it should is refused before it is unpacked."""
    bomb = zstandard.compress(bytes(256 << 20))
    assert len(bomb) < 64 << 10
    with pytest.raises(DataLossError):
        decode(Codec.ZSTD, bomb, CHUNK_SIZE)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(256 << 20))
    with pytest.raises(DataLossError):
        decode(Codec.ZSTD, unsized, CHUNK_SIZE)
    for size in (-1, MAX_PLAIN_SIZE + 1):
        with pytest.raises(DataLossError):
            decode(Codec.PLAIN, b"", size)


def test_what_does_not_shrink_stays_as_it_is() -> None:
    """Without a copy, and also when little would be won."""
    view = memoryview(RANDOM)
    codec, stored = encode(view)
    assert codec is Codec.PLAIN
    assert stored is view
    mostly = RANDOM[: CHUNK_SIZE * 98 // 100].ljust(CHUNK_SIZE, b"\0")
    assert encode(mostly)[0] is Codec.PLAIN
    assert encode(RANDOM[: CHUNK_SIZE * 90 // 100].ljust(CHUNK_SIZE, b"\0"))[0] is Codec.ZSTD


@pytest.mark.parametrize("size", [0, 1, 511, CHUNK_SIZE, (1 << 20) - 1, 1 << 20, (3 << 20) + 7])
def test_zeros(size: int) -> None:
    """One bit anywhere makes the difference."""
    plain = bytearray(size)
    assert is_zero(plain)
    for place in {0, size // 2, size - 1} if size else ():
        plain[place] = 1
        assert not is_zero(memoryview(plain))
        plain[place] = 0


def test_digests_are_blake3() -> None:
    """The published test vector of the empty input: other programs can check a store."""
    assert (
        digest_of(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    )
