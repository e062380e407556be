"""Sealing and opening stored bytes, and the file of keys."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.errors import DataLossError
from clouddesktop.ids import Digest
from clouddesktop.store.codec import Codec, digest_of
from clouddesktop.store.encryption import (
    SEAL_OVERHEAD,
    EncryptionKeyMissingError,
    EncryptionKeysInvalidError,
    EncryptionKeyWrongError,
    Key,
    KeyRing,
    read_key_file,
)

OLD, NEW = Key("old", bytes(32)), Key("new", b"\1" * 32)
RING = KeyRing([NEW, OLD])
PLAIN = b"some bytes of a disk"
DIGEST = digest_of(PLAIN)


def seal(ring: KeyRing, codec: Codec = Codec.PLAIN) -> tuple[Codec, bytes]:
    sealed, data = ring.seal(codec, PLAIN, digest=DIGEST, plain_size=len(PLAIN))
    return sealed, bytes(data)


def opened(ring: KeyRing, codec: Codec, data: bytes, *, digest: Digest = DIGEST) -> bytes:
    return bytes(ring.open(codec, data, digest=digest, plain_size=len(PLAIN))[1])


@pytest.mark.parametrize("codec", [Codec.PLAIN, Codec.ZSTD])
def test_what_is_sealed_opens_again(codec: Codec) -> None:
    """By the first key of the ring; each time with another nonce."""
    sealed, data = seal(RING, codec)
    assert len(data) == len(PLAIN) + SEAL_OVERHEAD
    assert PLAIN not in data
    assert data.startswith(b"new\0")
    assert seal(RING, codec)[1] != data
    assert RING.open(sealed, data, digest=DIGEST, plain_size=len(PLAIN)) == (codec, PLAIN)
    assert RING.seal(sealed, data, digest=DIGEST, plain_size=len(PLAIN)) == (sealed, data)


def test_without_a_key_bytes_stay_as_they_are() -> None:
    """Sealing and opening."""
    assert seal(KeyRing()) == (Codec.PLAIN, PLAIN)
    assert opened(KeyRing(), Codec.PLAIN, PLAIN) == PLAIN
    assert opened(RING, Codec.PLAIN, PLAIN) == PLAIN


@given(place=st.integers(0, len(PLAIN) + SEAL_OVERHEAD - 1), change=st.integers(1, 255))
def test_no_changed_byte_opens(place: int, change: int) -> None:
    """Key id, check, nonce, text or tag; a ring that is complete calls all of it damage."""
    codec, data = seal(RING)
    changed = bytearray(data)
    changed[place] ^= change
    with pytest.raises(DataLossError):
        opened(RING.completed({}), codec, bytes(changed))


def test_sealed_bytes_belong_to_their_chunk() -> None:
    """Those of another digest, size or codec do not open; nor do some of them."""
    codec, data = seal(RING)
    for open_wrongly in (
        lambda: opened(RING, codec, data, digest=digest_of(b"other")),
        lambda: opened(RING, Codec.SEALED_ZSTD, data),
        lambda: opened(RING, codec, data[:-1]),
        lambda: opened(RING, codec, data[:20]),
        lambda: RING.open(codec, data, digest=DIGEST, plain_size=7),
    ):
        with pytest.raises(DataLossError):
            open_wrongly()


def test_a_missing_or_wrong_key_is_named() -> None:
    """Never taken for damage, as long as the ring may lack keys."""
    codec, data = seal(KeyRing([OLD]))
    assert opened(RING, codec, data) == PLAIN
    with pytest.raises(EncryptionKeyMissingError, match="by the key old,"):
        opened(KeyRing([NEW]), codec, data)
    with pytest.raises(EncryptionKeyWrongError, match="another key old than"):
        opened(KeyRing([Key("old", b"\2" * 32)]), codec, data)
    with pytest.raises(EncryptionKeyMissingError):
        KeyRing([NEW]).completed({"old": OLD.check})
    with pytest.raises(EncryptionKeyWrongError):
        RING.completed({"old": NEW.check})


def write_keys(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_file_is_read(tmp_path: Path) -> None:
    """Comments and blank lines are fine; the first key is the one in use."""
    new, old = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    ring = read_key_file(
        write_keys(tmp_path / "keys", f"# of ours\n\n2026b: {new}  # since May\n2026a:{old}\n")
    )
    assert ring.active is not None
    assert repr(ring.active) == "Key('2026b')"
    codec, data = seal(ring)
    assert opened(ring, codec, data) == PLAIN


GOOD = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (f"a: {GOOD}\n", 0o640, "open to others"),
        (f"a: {GOOD}\n", 0o604, "open to others"),
        ("", 0o600, "holds no key"),
        (f"a: {GOOD}\na: {GOOD}\n", 0o600, "two of one id"),
        (f"a: {GOOD[:-4]}\n", 0o600, "line 1 is not"),
        (f"{GOOD}\n", 0o600, "line 1 is not"),
        (f"far too long for an id: {GOOD}\n", 0o600, "line 1 is not"),
        ("a: Ключ\n", 0o600, "cannot be read"),
    ],
)
def test_a_bad_key_file_is_refused(tmp_path: Path, text: str, mode: int, words: str) -> None:
    """In words that hold nothing of a key."""
    with pytest.raises(EncryptionKeysInvalidError, match=words) as caught:
        read_key_file(write_keys(tmp_path / "keys", text, mode))
    assert GOOD[:8] not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


def test_a_missing_key_file_is_told(tmp_path: Path) -> None:
    """It is not made: an empty one would help nobody."""
    with pytest.raises(EncryptionKeysInvalidError, match="cannot be read"):
        read_key_file(tmp_path / "none")
