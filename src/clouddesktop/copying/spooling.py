"""Fetching a file that its server gives only whole, into a scratch file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from clouddesktop.disk.file import LocalFile
from clouddesktop.disk.spool import Spool
from clouddesktop.errors import UnavailableError
from clouddesktop.source.remote import StreamedFile
from clouddesktop.source.retrying import RetryBudget

_ATTEMPTS = 4
"""Each begins at the start of the file: there is no other way."""


def spool_whole(
    file: StreamedFile, spool: Spool, stack: ExitStack, *, check_alive: Callable[[], None]
) -> LocalFile:
    """Fetch the file; it is valid until `stack` is closed. `check_alive` may raise to stop it.

    Raises:
        SpoolFullError: there is no room for it.
        SourceChangedError: it is not what it was when it was opened.
        RetriesExhaustedError: it broke off again and again.
    """
    budget = RetryBudget(in_a_row=_ATTEMPTS, in_all=_ATTEMPTS)
    for failures in range(1, _ATTEMPTS + 1):
        with ExitStack() as trial:
            spool_file = trial.enter_context(spool.open_file(file.name, check_alive=check_alive))
            try:
                for piece in file.iter_bytes():
                    spool_file.write(piece)
            except UnavailableError as error:
                trial.close()
                budget.spend(failures, error)
                continue
            stack.push(trial.pop_all())
            return spool_file.finish()
    raise AssertionError("The last attempt returns or raises.")
