"""The audit log's files: one event a line, as JSON, in a folder of its own.

    audit/audit.jsonl                              what is being written
    audit/audit-20261126T101500.123456Z.jsonl      full; the oldest go when there are too many

A line is handed to the operating system before `write` returns: it outlives the process. What the
file system has not written yet is lost by a power cut.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

_CURRENT = "audit.jsonl"
_FULL = "audit-*.jsonl"
_MOST_LINE_BYTES = 64 << 10
_MODE = 0o600

_log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(tz=UTC)


class AuditLog:
    """Appends events, and begins a new file when one has `most_bytes`; thread-safe.

    A disk that is full ends no call: what could not be written is in the server's log instead.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int,
        most_files: int,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Go on with the file in `folder`, and keep `most_files` full ones beside it."""
        self._folder = folder
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._clock = clock
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._size = 0

    def write(self, event: Mapping[str, Any]) -> None:
        """Append one event; one that is too long loses its `request_parameters`."""
        line = _to_line(event)
        if len(line) > _MOST_LINE_BYTES:
            line = _to_line({**event, "request_parameters": {}, "response": {}, "shortened": True})
        try:
            with self._lock:
                self._append(line)
        except OSError:
            _log.exception("audit event not written", audit_event=line.decode())

    def close(self) -> None:
        """Let go of the file; the next `write` opens it again."""
        with self._lock:
            self._close()

    def _append(self, line: bytes) -> None:
        if self._descriptor is not None and self._size + len(line) > self._most_bytes:
            self._rotate()
        if self._descriptor is None:
            self._descriptor, self._size = self._open()
        left = memoryview(line)
        while left:
            written = os.write(self._descriptor, left)
            self._size += written
            left = left[written:]

    def _open(self) -> tuple[int, int]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / _CURRENT
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            # A process that died while it wrote, or a full disk: what follows is a line of its own.
            size += os.write(descriptor, b"\n")
        return descriptor, size

    def _rotate(self) -> None:
        self._close()
        moment = self._clock().strftime("%Y%m%dT%H%M%S.%fZ")
        (self._folder / _CURRENT).rename(self._folder / f"audit-{moment}.jsonl")
        for path in sorted(self._folder.glob(_FULL))[: -self._most_files]:
            path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _to_line(event: Mapping[str, Any]) -> bytes:
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.encode("utf-8", "backslashreplace") + b"\n"
