"""How work goes on, on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

import typer

from clouddesktop.cli.texts import format_seconds, format_size

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_LINE_EVERY_SECONDS = 5.0


class Reporter(Protocol):
    """Hears how far work is; sizes are bytes, and a total of 0 is not known yet."""

    def report(self, phase: str, done_size: int, total_size: int) -> None: ...

    def note(self, text: str) -> None: ...


@contextmanager
def open_reporter() -> Iterator[Reporter]:
    """Choose the reporter that fits standard error."""
    if not sys.stderr.isatty():
        yield LineReporter()
        return
    from rich import progress as rich  # noqa: PLC0415  (a tenth of a second, for terminals only)
    from rich.console import Console  # noqa: PLC0415

    columns = (
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.TaskProgressColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as bars:
        yield BarReporter(bars)


class BarReporter:
    """A bar with rate and time left."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task = bars.add_task("waiting", total=None)

    def report(self, phase: str, done_size: int, total_size: int) -> None:
        self._bars.update(
            self._task, description=phase, completed=done_size, total=total_size or None
        )

    def note(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False)


class LineReporter:
    """A line at each new phase and every few seconds."""

    def __init__(
        self,
        *,
        write: Callable[[str], object] = partial(typer.echo, err=True),  # noqa: B008  (holds no state)
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self._last_phase = ""
        self._last_line_at = float("-inf")

    def report(self, phase: str, done_size: int, total_size: int) -> None:
        now = self._clock()
        if total_size and self._first is None:
            self._first = (now, done_size)
        if phase == self._last_phase and now - self._last_line_at < _LINE_EVERY_SECONDS:
            return
        self._last_phase, self._last_line_at = phase, now
        self._write(self._describe(phase, done_size, total_size, now))

    def note(self, text: str) -> None:
        self._write(text)

    def _describe(self, phase: str, done_size: int, total_size: int, now: float) -> str:
        if not total_size or self._first is None:
            return phase
        share = f"{done_size / total_size:.0%}"
        text = f"{phase}: {format_size(done_size)} of {format_size(total_size)} ({share})"
        since, size_before = self._first
        if now <= since or done_size <= size_before:
            return text
        rate = (done_size - size_before) / (now - since)
        text += f", {format_size(rate)}/s"
        if done_size < total_size:
            text += f", about {format_seconds((total_size - done_size) / rate)} left"
        return text
