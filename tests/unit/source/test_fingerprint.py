"""Fingerprints of files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from clouddesktop.source.fingerprint import Fingerprint


def of(path: Path) -> Fingerprint:
    return Fingerprint.of_status(path.stat())


def test_it_stays_while_nothing_writes(tmp_path: Path) -> None:
    """Reading changes nothing, and the text is as equal as the fingerprint."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    before = of(path)
    assert path.read_bytes() == b"content"
    assert of(path) == before
    assert of(path).to_text() == before.to_text()


def test_a_write_of_the_same_size_with_the_old_time_shows(tmp_path: Path) -> None:
    """The change time cannot be set back, unlike the modification time."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    before = of(path)
    deadline = time.monotonic() + 5
    while of(path).changed_ns == before.changed_ns:  # the file system's clock has to tick once
        assert time.monotonic() < deadline
        path.write_bytes(b"CONTENT")
        os.utime(path, ns=times)
    assert of(path).modified_ns == before.modified_ns
    assert of(path) != before
    assert of(path).to_text() != before.to_text()


def test_a_copy_of_the_file_is_another_file(tmp_path: Path) -> None:
    """Even with the same size and times."""
    first, second = tmp_path / "first", tmp_path / "second"
    for each in (first, second):
        each.write_bytes(b"content")
        os.utime(each, ns=(1, 1))
    assert of(first) != of(second)


def test_a_file_settles_with_time(tmp_path: Path) -> None:
    """Not right after a write, but soon."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    changed_ns = path.stat().st_ctime_ns
    fresh = of(path)
    assert not fresh.settled or time.time_ns() >= changed_ns + 100_000_000
    deadline = time.monotonic() + 5
    while not of(path).settled:
        assert time.monotonic() < deadline
    assert of(path) == fresh
