"""libnbd, bound by cffi: the few calls that reading needs.

Faults leave this module as NbdFaultError only, which `disk.nbd` turns into an error of ours: it
knows the disk and the program at the other end.
"""

from __future__ import annotations

import socket
from functools import cache
from typing import Any

import cffi

from clouddesktop.disk.errors import MissingProgramError

MAX_READ_SIZE = 32 << 20
"""Bytes in one request at most, the limit of qemu-nbd."""

STATE_ZERO = 2
"""The flag of base:allocation that promises zeros (NBD protocol, "Metadata querying")."""

_BASE_ALLOCATION = b"base:allocation"
_IN_ONE_PIECE = 1 << 2
"""LIBNBD_CMD_FLAG_DF: qemu-nbd hangs up when a read fails of which it may send pieces."""
_CHUNK_ARGUMENTS = "void *, const void *, size_t, uint64_t, unsigned int, int *"
_DECLARATIONS = """
    struct nbd_handle;
    typedef struct {
        int (*callback)(void *user_data, const char *metacontext, uint64_t offset,
                        uint32_t *entries, size_t nr_entries, int *error);
        void *user_data;
        void (*free)(void *user_data);
    } nbd_extent_callback;
    typedef struct {
        int (*callback)(void *user_data, const void *subbuf, size_t count, uint64_t offset,
                        unsigned int status, int *error);
        void *user_data;
        void (*free)(void *user_data);
    } nbd_chunk_callback;
    struct nbd_handle *nbd_create(void);
    void nbd_close(struct nbd_handle *h);
    const char *nbd_get_error(void);
    int nbd_get_errno(void);
    int nbd_add_meta_context(struct nbd_handle *h, const char *name);
    int nbd_can_meta_context(struct nbd_handle *h, const char *name);
    int nbd_can_df(struct nbd_handle *h);
    int nbd_connect_socket(struct nbd_handle *h, int sock);
    int64_t nbd_get_size(struct nbd_handle *h);
    int nbd_pread_structured(struct nbd_handle *h, void *buf, size_t count, uint64_t offset,
                             nbd_chunk_callback chunk_callback, uint32_t flags);
    int nbd_block_status(struct nbd_handle *h, uint64_t count, uint64_t offset,
                         nbd_extent_callback extent_callback, uint32_t flags);
"""


class NbdFaultError(Exception):
    """A call of libnbd failed, for the reason that its text and `errno` tell."""

    def __init__(self, message: str, *, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class NbdConnection:
    """One connection to a server. Not thread-safe: one thread uses it at a time."""

    def __init__(self, connected: socket.socket) -> None:
        """Negotiate over a connected socket, which now belongs to the connection. Blocks.

        Raises:
            NbdFaultError: the server is gone or refuses.
        """
        self._ffi, self._library = _load()
        self._handle = self._library.nbd_create()
        # Only a read that tells of its pieces can be asked for in one; there is nothing to tell.
        self._ignore = self._ffi.callback(f"int({_CHUNK_ARGUMENTS})", lambda *_: 0, error=-1)
        self._on_chunk = self._ffi.new("nbd_chunk_callback *", {"callback": self._ignore})
        fd = connected.detach()
        try:
            self._check(self._library.nbd_add_meta_context(self._handle, _BASE_ALLOCATION))
            self._check(self._library.nbd_connect_socket(self._handle, fd))
            self.size = int(self._check(self._library.nbd_get_size(self._handle)))
            mapped = self._library.nbd_can_meta_context(self._handle, _BASE_ALLOCATION)
            self._has_map = self._check(mapped) == 1
            self._can_be_whole = self._check(self._library.nbd_can_df(self._handle)) == 1
        except NbdFaultError:
            self.close()
            raise

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer; requests are cut to what the server takes."""
        flags = _IN_ONE_PIECE if self._can_be_whole else 0
        for start in range(0, len(buffer), MAX_READ_SIZE):
            piece = self._ffi.from_buffer(
                buffer[start : start + MAX_READ_SIZE], require_writable=True
            )
            self._check(
                self._library.nbd_pread_structured(
                    self._handle, piece, len(piece), offset + start, self._on_chunk[0], flags
                )
            )

    def get_states(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Give lengths and flags of areas from `offset` on: at least one, maybe not all."""
        if not self._has_map:
            return [(length, 0)]
        numbers: list[int] = []

        def note(
            _user_data: object,
            _context: object,
            _offset: int,
            entries: Any,
            count: int,
            _error: object,
        ) -> int:
            numbers.extend(self._ffi.unpack(entries, count))
            return 0

        callback = self._ffi.new("nbd_extent_callback *")
        keep_alive = self._ffi.callback(
            "int(void *, const char *, uint64_t, uint32_t *, size_t, int *)", note, error=-1
        )
        callback.callback = keep_alive
        self._check(self._library.nbd_block_status(self._handle, length, offset, callback[0], 0))
        states = list(zip(numbers[::2], numbers[1::2], strict=True))
        if not states or not all(each for each, _ in states):
            raise NbdFaultError("The server's map of the disk is empty.")
        return states

    def close(self) -> None:
        """Hang up. A second call does nothing."""
        if self._handle is not None:
            self._library.nbd_close(self._handle)
            self._handle = None

    def _check(self, result: int) -> int:
        if result >= 0:
            return result
        text = self._ffi.string(self._library.nbd_get_error()).decode(errors="replace")
        raise NbdFaultError(text, errno=self._library.nbd_get_errno())


@cache
def _load() -> tuple[Any, Any]:
    ffi = cffi.FFI()
    ffi.cdef(_DECLARATIONS)
    try:
        return ffi, ffi.dlopen("libnbd.so.0")
    except OSError as error:
        raise MissingProgramError(
            "The library libnbd, which reads qcow2 disks, is not installed.",
            remedy="Install it: `apt-get install libnbd0 qemu-utils` on Debian and Ubuntu.",
            facts={"packages": "libnbd0, qemu-utils"},
        ) from error
