"""Retention: what ended long ago goes with its keys, batch by batch; the rest stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from clouddesktop.catalog import pruning
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.operations import add_operation, find_earlier_operation, remember_request
from clouddesktop.catalog.tables import operations
from clouddesktop.keeping import retention
from clouddesktop.keeping.retention import Retention
from clouddesktop.model.operation import IdempotencyKey, Operation, OperationKind, Phase, Progress

NOW = datetime(2026, 11, 26, tzinfo=UTC)


class Pruned:
    """A database and its retention, at a time that the test sets."""

    def __init__(self, folder: Path, days: float) -> None:
        self.database = Database(f"sqlite:///{folder / 'catalogue.db'}")
        self.database.migrate()
        self.seconds = 0.0
        self.asked: list[datetime] = []
        self.workflows = 0
        self.retention = Retention(
            database=self.database,
            days=days,
            prune_workflows=self._prune_workflows,
            clock=lambda: self.seconds,
            now=lambda: NOW,
        )

    def _prune_workflows(self, ended_before: datetime) -> int:
        self.asked.append(ended_before)
        return self.workflows

    def add(self, name: str, *, days: float, done: bool = True, key: str = "") -> None:
        moment = NOW - timedelta(days=days)
        operation = Operation(
            id=name,
            kind=OperationKind.DELETE_IMAGE,
            description="",
            created_at=moment,
            created_by="ajeadmin",
            modified_at=moment,
            done=done,
            resource_id="e3v",
            folder_id="b1g",
            progress=Progress(phase=Phase.DONE),
        )
        self.database.write(add_operation, operation)
        if key:
            idempotency = IdempotencyKey(key=key, request_digest=b"d")
            self.database.write(remember_request, operation, idempotency=idempotency)

    def names(self) -> set[str]:
        return set(
            self.database.read(
                lambda connection: list(connection.scalars(sa.select(operations.c.id)))
            )
        )


@pytest.fixture
def pruned(tmp_path: Path) -> Iterator[Pruned]:
    made = Pruned(tmp_path, days=30)
    yield made
    made.database.close()


def test_what_ended_long_ago_goes_with_its_key(pruned: Pruned) -> None:
    """What runs stays however old it is, and so does what ended since."""
    pruned.add("old", days=31, key="k1")
    pruned.add("running", days=300, done=False)
    pruned.add("young", days=29, key="k2")
    pruned.retention.look()
    assert pruned.names() == {"running", "young"}
    again = IdempotencyKey(key="k1", request_digest=b"other")
    known = pruned.database.read(find_earlier_operation, subject_id="ajeadmin", idempotency=again)
    assert known is None
    assert pruned.asked == [NOW - timedelta(days=30)]


def test_a_key_is_kept_for_a_day_however_short_the_retention(tmp_path: Path) -> None:
    """With its operation, which a repeated request answers with."""
    pruned = Pruned(tmp_path, days=0.01)
    pruned.add("kept", days=0.9, key="k1")
    pruned.add("keyless", days=0.9)
    pruned.add("old", days=1.1, key="k2")
    pruned.retention.look()
    assert pruned.names() == {"kept"}
    pruned.database.close()


def test_an_end_that_is_not_in_the_audit_log_keeps_its_operation(pruned: Pruned) -> None:
    """An operation that went on, and ended while nobody wrote of it."""
    pruned.add("awaited", days=40, done=False)

    def end(connection: sa.Connection) -> None:
        connection.execute(sa.update(operations).values(done=True))

    pruned.database.write(end)
    pruned.retention.look()
    assert pruned.names() == {"awaited"}


def test_batches_are_small_and_every_look_takes_one(
    pruned: Pruned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there is more; then an hour passes before the next look."""
    for module in (pruning, retention):
        monkeypatch.setattr(module, "PRUNED_AT_ONCE", 10)
    for number in range(25):
        pruned.add(f"old{number}", days=40 - number / 100)
    sizes = []
    for _ in range(3):
        pruned.retention.look()
        sizes.append(len(pruned.names()))
    assert sizes == [15, 5, 0]
    pruned.add("late", days=40)
    pruned.retention.look()
    assert pruned.names() == {"late"}
    pruned.seconds += 3600
    pruned.retention.look()
    assert pruned.names() == set()


def test_workflows_that_are_left_are_asked_for_again(pruned: Pruned) -> None:
    """A full batch of them means that there may be more."""
    pruned.workflows = pruning.PRUNED_AT_ONCE
    pruned.retention.look()
    pruned.workflows = 0
    pruned.retention.look()
    pruned.retention.look()
    assert len(pruned.asked) == 2


def test_zero_days_keep_all(tmp_path: Path) -> None:
    """For ever."""
    pruned = Pruned(tmp_path, days=0)
    pruned.add("old", days=10_000)
    pruned.retention.look()
    assert pruned.names() == {"old"}
    assert pruned.asked == []
    pruned.database.close()


def test_a_batch_is_found_by_indexes(pruned: Pruned) -> None:
    """Whatever the number of operations: no table is read as a whole."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    def explain(connection: sa.Connection) -> str:
        sa.event.listen(connection, "before_cursor_execute", note)
        pruning.prune_operations(connection, ended_before=NOW, keys_before=NOW)
        statement, parameters = statements[0]
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return "\n".join(str(row[-1]) for row in plan)

    plan = pruned.database.read(explain)
    assert "SCAN" not in plan, plan
    assert "ix_operations_done_modified_at" in plan
