"""Group commit: writes that wait at the same time share one transaction, and one sync of the disk.

    the write lock  | SAVEPOINT, query, RELEASE | SAVEPOINT, query, RELEASE | ... | COMMIT, synced
                                                                                     then all return

A query that raises is undone to its own savepoint: its caller alone hears of it, and the others
commit. A commit that fails fails for the whole group, and leaves nothing of it.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.backend import Backend

_MOST_IN_GROUP = 64
"""Bounds how long the first of a group waits for the last, and others for the write lock."""


class GroupWriter:
    """Runs writes in a thread of its own, which starts with the first one."""

    def __init__(self, engine: sa.Engine, backend: Backend) -> None:
        self._engine = engine
        self._backend = backend
        self._waiting: SimpleQueue[_Write | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, query: Callable[[sa.Connection], Any]) -> Future[Any]:
        """Have a query run and committed; the result is there once that is durable.

        A query whose future is cancelled before its turn is not run.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("A write inside a write would wait for itself.")
        write = _Write(query)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="catalogue", daemon=True)
                self._thread.start()
            self._waiting.put(write)
        return write.future

    def close(self) -> None:
        """Finish what waits, and end the thread; a later write starts another one."""
        with self._lock:
            if self._thread is not None:
                self._waiting.put(None)
                self._thread.join()
                self._thread = None

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            if first.begin():
                self._commit_group(first)

    def _commit_group(self, first: _Write) -> None:
        group = [first]
        has_begun = False
        try:
            with self._engine.connect() as connection:
                self._backend.begin_write(connection)
                has_begun = True
                first.run(connection, self._backend)
                for write in self._take_others():
                    group.append(write)
                    write.run(connection, self._backend)
                connection.commit()
        except BaseException as error:  # noqa: BLE001  (each caller raises it)
            if not has_begun:
                # The others would wait for the same, one after the other, seconds each.
                group += [each for each in self._take_waiting() if each.begin()]
            for write in group:
                write.fail(error)
        else:
            for write in group:
                write.succeed()

    def _take_others(self) -> Iterator[_Write]:
        for write in islice(self._take_waiting(), _MOST_IN_GROUP - 1):
            if write.begin():
                yield write

    def _take_waiting(self) -> Iterator[_Write]:
        while True:
            try:
                write = self._waiting.get_nowait()
            except Empty:
                return
            if write is None:
                self._waiting.put(None)  # for _work, which ends by it
                return
            yield write


class _Write:
    """A query and what comes of it."""

    def __init__(self, query: Callable[[sa.Connection], Any]) -> None:
        self.future: Future[Any] = Future()
        self._query = query
        self._context = contextvars.copy_context()  # what the caller logs by
        self._result: Any = None

    def begin(self) -> bool:
        """Tell whether it is still to be run; from then on its future cannot be cancelled."""
        return self.future.set_running_or_notify_cancel()

    def run(self, connection: sa.Connection, backend: Backend) -> None:
        """Run in a savepoint. What the query raises goes to its caller, at once.

        Raises:
            BaseException: what the query raised, when the whole transaction was undone by it, as
                SQLite does when the disk is full, or when the connection is lost.
        """
        connection.exec_driver_sql("SAVEPOINT query")
        try:
            self._result = self._context.run(self._query, connection)
        except BaseException as error:
            self.future.set_exception(error)
            if not backend.is_in_transaction(connection):
                raise
            connection.exec_driver_sql("ROLLBACK TO query")
        connection.exec_driver_sql("RELEASE query")

    def succeed(self) -> None:
        if not self.future.done():
            self.future.set_result(self._result)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)
