"""Checksums of whole files: how they are written, and how a file is compared with one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from clouddesktop.copying.verifying import ChecksumMismatchError, verify_checksum
from clouddesktop.disk.file import LocalFile
from clouddesktop.model.checksum import Checksum
from parts.disks import MIB, random_bytes, write_raw

ALGORITHMS = ("md5", "sha256", "sha512")


def checksum_of(content: bytes, algorithm: str) -> Checksum:
    digest = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    return Checksum(algorithm=algorithm, digest=digest)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that begins and ends with a hole, and has one in between."""
    path = tmp_path / "disk.raw"
    data = {MIB: random_bytes(5 * MIB, seed=1), 9 * MIB: b"x"}
    write_raw(path, size=12 * MIB + 77, data=data)
    return path


def verify(path: Path, checksum: Checksum) -> int:
    calls = 0

    def check_alive() -> None:
        nonlocal calls
        calls += 1

    fd = os.open(path, os.O_RDONLY)
    try:
        verify_checksum(LocalFile(fd), checksum, check_alive=check_alive)
    finally:
        os.close(fd)
    return calls


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_whole_file_is_hashed(path: Path, algorithm: str) -> None:
    """Its holes too; between pieces there is a way to stop."""
    assert verify(path, checksum_of(path.read_bytes(), algorithm)) > 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_byte_is_a_mismatch(path: Path, algorithm: str) -> None:
    """Both digests are named."""
    wrong = checksum_of(path.read_bytes() + b"\0", algorithm)
    with pytest.raises(ChecksumMismatchError, match=r"disk\.raw") as caught:
        verify(path, wrong)
    right = checksum_of(path.read_bytes(), algorithm)
    assert caught.value.facts["digest"] == right.digest
    assert caught.value.facts["expected_digest"] == wrong.digest


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_written_is_read_back(algorithm: str) -> None:
    checksum = checksum_of(b"", algorithm)
    assert Checksum.parse(f" {checksum.to_text().upper()} ") == checksum
    assert Checksum.of_digest(checksum.digest.upper()) == checksum


@pytest.mark.parametrize(
    "text", ["", "sha256", "sha256:", "sha256:zz", f"sha1:{'0' * 40}", f"sha512:{'0' * 64}", "x:y"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Value must be|hexadecimal digits"):
        Checksum.parse(text)
