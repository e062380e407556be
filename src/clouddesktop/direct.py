"""Writes past the page cache.

What is written in bulk and not read soon gains nothing from the cache, and pays for it with a copy
into pages that have to be found first: for a disk image, as much time as compressing it.
"""

from __future__ import annotations

import errno
import mmap
import os
from contextlib import suppress

BLOCK = 4096
"""Direct writes begin in file and memory at multiples of this, and are multiples of it long.

File systems ask for a block of their disk, 512 or 4,096 bytes (open(2), O_DIRECT).
"""

UNABLE = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
"""How a file system says that it knows no direct writes, or none like this one."""


def aligned_memory(size: int) -> mmap.mmap:
    """Get memory that begins at a page."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel may be built without
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def write_blocks(descriptor: int, view: memoryview, offset: int) -> int:
    """Write the whole blocks of `view` at `offset` by a descriptor that was opened with O_DIRECT.

    Returns:
        The bytes that were written; fewer where the file system can't, or not from this memory.

    Raises:
        OSError: the write failed for another reason.
    """
    done, end = 0, len(view) - len(view) % BLOCK
    try:
        while done < end:
            done += os.pwrite(descriptor, view[done:end], offset + done)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
    return done


def write_all(descriptor: int, view: memoryview, offset: int) -> None:
    """Write all bytes through the page cache.

    Raises:
        OSError: the write failed.
    """
    while view:
        done = os.pwrite(descriptor, view, offset)
        view, offset = view[done:], offset + done
