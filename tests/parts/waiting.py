"""Waiting for a condition, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], bool], what: str, *, timeout_seconds: float = 60) -> None:
    """Wait until the condition holds; `what` says which one when it never does."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_seconds} s: {what}"
        time.sleep(0.01)
