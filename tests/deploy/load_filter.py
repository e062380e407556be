"""Loads a filter of system calls as systemd would, then becomes a program: FILTER COMMAND….

FILTER is JSON: {"calls": [names that are allowed], "families": [numbers of address families],
"is_code_fixed": whether memory is never writable and executable, as by MemoryDenyWriteExecute=}.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import cffi

from clouddesktop.disk import seccomp

_DENY = 0x00050000 | errno.EPERM  # SCMP_ACT_ERRNO, SystemCallErrorNumber=EPERM
_ALL_BITS = (1 << 64) - 1
_WRITE_EXECUTE = mmap.PROT_WRITE | mmap.PROT_EXEC


def load(calls: list[str], families: list[int], *, is_code_fixed: bool) -> None:
    """Bind this process, and all that it becomes."""
    ffi = cffi.FFI()
    ffi.cdef(seccomp._DECLARATIONS)
    ffi.cdef("int seccomp_load(void *ctx);")
    library: Any = ffi.dlopen("libseccomp.so.2")
    context = library.seccomp_init(_DENY)
    rules: dict[str, list[tuple[int, int, int] | None]] = {name: [None] for name in calls}
    rules["socket"] = [(0, _ALL_BITS, family) for family in families]
    if is_code_fixed:
        rules["mmap"] = [(2, _WRITE_EXECUTE, bits) for bits in (0, mmap.PROT_WRITE, mmap.PROT_EXEC)]
        rules["mprotect"] = rules["pkey_mprotect"] = [(2, mmap.PROT_EXEC, 0)]
    for name, conditions in rules.items():
        for condition in conditions:
            with suppress(seccomp.SeccompError):  # a name of another architecture
                seccomp._allow(ffi, library, context, name, condition)
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    load(**json.loads(Path(sys.argv[1]).read_text()))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  (no shell is wanted)
