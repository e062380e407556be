"""Writes past the page cache, where the file system and the memory allow them, and where not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from clouddesktop.direct import BLOCK, aligned_memory, write_all, write_blocks


@pytest.fixture
def plain() -> memoryview:
    """Some blocks and a part of one, beginning at a page."""
    memory = aligned_memory(4 * BLOCK)
    memory[:] = os.urandom(4 * BLOCK)
    return memoryview(memory)[: 3 * BLOCK + 100]


def test_whole_blocks_are_written(tmp_path: Path, plain: memoryview) -> None:
    """The rest is the caller's to write."""
    path = tmp_path / "file"
    path.touch()
    descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT)
    try:
        done = write_blocks(descriptor, plain, BLOCK)
    finally:
        os.close(descriptor)
    assert done == 3 * BLOCK
    assert path.read_bytes() == bytes(BLOCK) + plain[:done]
    with path.open("r+b") as file:
        write_all(file.fileno(), plain[done:], BLOCK + done)
    assert path.read_bytes() == bytes(BLOCK) + plain


def test_a_refusal_of_the_file_system_is_no_error(
    monkeypatch: pytest.MonkeyPatch, plain: memoryview
) -> None:
    """It says how much it took; a full disk is an error."""
    answers = [2 * BLOCK, errno.EINVAL]

    def pwrite(_descriptor: int, _data: memoryview, _offset: int) -> int:
        answer = answers.pop(0)
        if answer < BLOCK:
            raise OSError(answer, os.strerror(answer))
        return answer

    monkeypatch.setattr(os, "pwrite", pwrite)
    assert write_blocks(3, plain, 0) == 2 * BLOCK
    answers = [errno.ENOSPC]
    with pytest.raises(OSError, match="space"):
        write_blocks(3, plain, 0)
