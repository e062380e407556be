r"""Encryption at rest: stored bytes sealed by AES-256-GCM under a key of the ring.

    sealed   key id, 16 bytes of ASCII padded by zeros; key check, 8 bytes; nonce, 12 bytes;
             ciphertext; tag, 16 bytes
    bound    "CDSEAL1\n", key id, key check, codec u32, plain size u64, digest of the plain bytes

A chunk's digest is that of its plain bytes, so sealed chunks deduplicate as plain ones do. The key
check tells a wrong key under a known id from damage; it says nothing about the key. Nonces are
random: one key is good for 2^32 chunks, a pebibyte (NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import base64
import os
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clouddesktop.content import Buffer
from clouddesktop.errors import DataLossError, FailedPreconditionError, InvalidArgumentError
from clouddesktop.ids import Digest
from clouddesktop.store.codec import Codec

KEY_SIZE = 32
SEAL_OVERHEAD = 16 + 8 + 12 + 16
"""Bytes that sealing adds."""

_SEAL = struct.Struct("<16s8s12s")
_BOUND = struct.Struct("<8s24sIQ32s")
_MAGIC = b"CDSEAL1\n"
_CHECK_CONTEXT = "clouddesktop 2026-11-25 key check"
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,15}")
_SEALED = {Codec.PLAIN: Codec.SEALED_PLAIN, Codec.ZSTD: Codec.SEALED_ZSTD}
_OPENED = {sealed: codec for codec, sealed in _SEALED.items()}


class EncryptionKeysInvalidError(InvalidArgumentError):
    """The file of encryption keys cannot be used."""

    reason = "ENCRYPTION_KEYS_INVALID"


class EncryptionKeyMissingError(FailedPreconditionError):
    """Bytes in the store are encrypted by a key that the server does not have."""

    reason = "ENCRYPTION_KEY_MISSING"


class EncryptionKeyWrongError(FailedPreconditionError):
    """Bytes in the store are encrypted by another key of the same id."""

    reason = "ENCRYPTION_KEY_WRONG"


class Key:
    """A key and its id; shows no more than the id."""

    __slots__ = ("_aead", "check", "id")

    def __init__(self, key_id: str, secret: bytes) -> None:
        if not _KEY_ID.fullmatch(key_id) or len(secret) != KEY_SIZE:
            raise ValueError(f"The key {key_id!r} has a wrong id or size.")
        self.id = key_id
        self.check: bytes = blake3(secret, derive_key_context=_CHECK_CONTEXT).digest(8)
        self._aead = AESGCM(secret)

    def __repr__(self) -> str:
        return f"Key({self.id!r})"

    @property
    def name(self) -> bytes:
        """The id as it stands before sealed bytes."""
        return self.id.encode().ljust(16, b"\0")

    def encrypt(self, nonce: bytes, data: Buffer, bound: bytes) -> bytes:
        return self._aead.encrypt(nonce, data, bound)

    def decrypt(self, nonce: bytes, data: Buffer, bound: bytes) -> bytes:
        return self._aead.decrypt(nonce, data, bound)


class KeyRing:
    """The keys of a store; thread-safe. The first seals what is written, all open what is read.

    Without keys, nothing is sealed.
    """

    def __init__(self, keys: Sequence[Key] = (), *, is_complete: bool = False) -> None:
        """Take the keys; a ring `is_complete` if bytes that name another key must be damaged."""
        self.active = keys[0] if keys else None
        self._is_complete = is_complete
        self._keys = {each.id: each for each in keys}

    def seal(
        self, codec: Codec, stored: Buffer, *, digest: Digest, plain_size: int
    ) -> tuple[Codec, Buffer]:
        """Seal stored bytes by the active key; what is sealed already stays as it is."""
        if self.active is None or codec in _OPENED:
            return codec, stored
        sealed = _SEALED[codec]
        nonce = os.urandom(12)
        head = self.active.name + self.active.check
        bound = _BOUND.pack(_MAGIC, head, sealed, plain_size, digest)
        return sealed, head + nonce + self.active.encrypt(nonce, stored, bound)

    def open(
        self, codec: Codec, stored: Buffer, *, digest: Digest, plain_size: int
    ) -> tuple[Codec, Buffer]:
        """Open sealed bytes; others come back as they are.

        Raises:
            DataLossError: they are not as they were sealed, or were sealed for another place.
            EncryptionKeyMissingError, EncryptionKeyWrongError: the ring lacks their key.
        """
        if codec not in _OPENED:
            return codec, stored
        if len(stored) < SEAL_OVERHEAD:
            raise DataLossError("The encrypted bytes are too few.")
        name, check, nonce = _SEAL.unpack_from(stored)
        key = self._find(name, check)
        bound = _BOUND.pack(_MAGIC, name + check, codec, plain_size, digest)
        try:
            opened = key.decrypt(nonce, memoryview(stored)[_SEAL.size :], bound)
        except InvalidTag as error:
            raise DataLossError("The encrypted bytes are damaged.") from error
        return _OPENED[codec], opened

    def completed(self, needed: Mapping[str, bytes]) -> KeyRing:
        """See that the ring has the keys that a store needs, all of them: ids with their checks.

        Raises:
            EncryptionKeyMissingError, EncryptionKeyWrongError: it lacks one.
        """
        for key_id, check in needed.items():
            self._find(key_id.encode().ljust(16, b"\0"), check)
        return KeyRing(list(self._keys.values()), is_complete=True)

    def _find(self, name: bytes, check: bytes) -> Key:
        if not (_KEY_ID.fullmatch(text := name.rstrip(b"\0").decode("ascii", "replace"))):
            raise DataLossError("The encrypted bytes name no key.")
        key = self._keys.get(text)
        if self._is_complete and (key is None or key.check != check):
            raise DataLossError(
                f"The encrypted bytes name a key that was never used here ({text})."
            )
        if key is None:
            raise EncryptionKeyMissingError(
                f"Bytes in the store are encrypted by the key {text}, which the server lacks.",
                remedy="Put that key into the file that --encryption-keys names.",
                facts={"key": text},
            )
        if key.check != check:
            raise EncryptionKeyWrongError(
                f"Bytes in the store are encrypted by another key {text} than the server has.",
                remedy="Put the right key into the file that --encryption-keys names.",
                facts={"key": text},
            )
        return key


def key_id_of(codec: Codec, stored: Buffer) -> str:
    """Say which key has sealed stored bytes; nothing for bytes that are not sealed."""
    if codec not in _OPENED:
        return ""
    return bytes(stored[:16]).rstrip(b"\0").decode("ascii", "replace")


def read_key_file(path: Path) -> KeyRing:
    """Read a ring from a file: lines of `id: base64 of 32 bytes`, the active key first.

    Raises:
        EncryptionKeysInvalidError: the file cannot be read, is open to others, or makes no sense.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii")
    except (OSError, UnicodeError) as error:
        raise _invalid(path, "it cannot be read") from error
    if mode & 0o077:
        raise EncryptionKeysInvalidError(
            f"The file of encryption keys {path} is open to others than its owner.",
            remedy=f"Run `chmod 600 {path}`, and think about who may have read it.",
            facts={"file": str(path)},
        )
    keys: list[Key] = []
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if entry:
            keys.append(_read_key(path, number, entry))
    if not keys or len({each.id for each in keys}) < len(keys):
        raise _invalid(path, "it holds no key, or two of one id")
    return KeyRing(keys)


def _read_key(path: Path, number: int, entry: str) -> Key:
    key_id, _, value = entry.partition(":")
    try:
        return Key(key_id.strip(), base64.b64decode(value.strip(), validate=True))
    except ValueError:
        pass
    # Outside of the handler: the error must not carry what may be a key.
    raise _invalid(path, f"line {number} is not `id: base64 of {KEY_SIZE} bytes`")


def _invalid(path: Path, why: str) -> EncryptionKeysInvalidError:
    return EncryptionKeysInvalidError(
        f"The file of encryption keys {path} cannot be used: {why}.",
        remedy="docs/keeping.md says how to make one.",
        facts={"file": str(path)},
    )
