"""Queries on the keeper's runs; a begin of a run fences every earlier begin of it by its epoch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from clouddesktop.catalog.tables import keeper_runs
from clouddesktop.errors import AbortedError, FailedPreconditionError, Failure, NotFoundError
from clouddesktop.model.keeping import KeeperRun, RunKind, RunState

_ACTIVE = [str(each) for each in RunState if each.is_active]


class RunActiveError(FailedPreconditionError):
    """A run of the same kind is at work, or waits for its turn."""

    reason = "RUN_ACTIVE"


class RunEndedError(FailedPreconditionError):
    """The run has ended already, so it cannot be stopped."""

    reason = "RUN_ENDED"


class KeeperRunReplacedError(AbortedError):
    """Another process has taken the keeper's run over, or the run has ended: stop."""

    reason = "KEEPER_RUN_REPLACED"


def add_run(connection: sa.Connection, run: KeeperRun) -> None:
    """Insert a run that waits for its turn.

    Raises:
        RunActiveError: one of its kind has not ended; nothing was changed.
    """
    active = connection.scalar(
        sa.select(keeper_runs.c.id).where(
            keeper_runs.c.kind == str(run.kind), keeper_runs.c.state.in_(_ACTIVE)
        )
    )
    if active is not None:
        raise RunActiveError(
            f"The run {active} of the same kind ({run.kind}) has not ended yet.",
            remedy=f"`clouddesktop store wait {active}` waits for its end.",
            facts={"resource_type": "KeeperRun", "resource_id": active},
        )
    connection.execute(
        sa.insert(keeper_runs).values(
            id=run.id,
            kind=str(run.kind),
            state=str(run.state),
            options=dict(run.options),
            epoch=run.epoch,
            attempts=run.attempts,
            progress=dict(run.progress),
            created_by=run.created_by,
            created_at=run.created_at,
            modified_at=run.created_at,
        )
    )


def get_run(connection: sa.Connection, run_id: str) -> KeeperRun:
    """Read one run.

    Raises:
        NotFoundError: there is none with this id.
    """
    row = connection.execute(sa.select(keeper_runs).where(keeper_runs.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFoundError.of_resource("KeeperRun", run_id)
    return _to_run(row._mapping)


def list_runs(connection: sa.Connection, *, limit: int) -> list[KeeperRun]:
    """List the latest runs, the newest first."""
    rows = connection.execute(
        sa.select(keeper_runs)
        .order_by(keeper_runs.c.created_at.desc(), keeper_runs.c.id.desc())
        .limit(limit)
    )
    return [_to_run(row._mapping) for row in rows]


def list_active_runs(connection: sa.Connection) -> list[KeeperRun]:
    """List the runs that have not ended, the oldest first."""
    rows = connection.execute(
        sa.select(keeper_runs)
        .where(keeper_runs.c.state.in_(_ACTIVE))
        .order_by(keeper_runs.c.created_at, keeper_runs.c.id)
    )
    return [_to_run(row._mapping) for row in rows]


def find_last_run(
    connection: sa.Connection, kind: RunKind, *, state: RunState = RunState.DONE
) -> KeeperRun | None:
    """Find the latest run of a kind that ended in `state` and was no dry run."""
    rows = connection.execute(
        sa.select(keeper_runs)
        .where(keeper_runs.c.kind == str(kind), keeper_runs.c.state == str(state))
        .order_by(keeper_runs.c.ended_at.desc())
    )
    for row in rows:
        run = _to_run(row._mapping)
        if not run.options.get("dry_run"):
            return run
    return None


def begin_run(connection: sa.Connection, run_id: str) -> KeeperRun | None:
    """Take the run over from whoever worked on it before; None when it has ended."""
    now = datetime.now(tz=UTC)
    row = connection.execute(
        sa.update(keeper_runs)
        .where(keeper_runs.c.id == run_id, keeper_runs.c.state.in_(_ACTIVE))
        .values(
            state=str(RunState.RUNNING),
            epoch=keeper_runs.c.epoch + 1,
            attempts=keeper_runs.c.attempts + 1,
            modified_at=now,
            started_at=sa.func.coalesce(keeper_runs.c.started_at, now),
        )
        .returning(keeper_runs)
    ).one_or_none()
    return None if row is None else _to_run(row._mapping)


def check_current(connection: sa.Connection, run_id: str, epoch: int) -> None:
    """See that this begin of the run still counts; the first query of each of its transactions.

    Raises:
        KeeperRunReplacedError: it does not; nothing may be changed.
    """
    _update(connection, run_id, epoch)


def save_progress(
    connection: sa.Connection, run_id: str, epoch: int, progress: Mapping[str, Any]
) -> None:
    """Keep how far the run is, and what it goes on from after a crash."""
    _update(connection, run_id, epoch, progress=dict(progress), attempts=0)


def make_way(connection: sa.Connection, run_id: str, epoch: int) -> None:
    """Let the run wait for its next turn; that it was begun does not count against it."""
    _update(connection, run_id, epoch, state=str(RunState.WAITING), attempts=0)


def end_run(
    connection: sa.Connection,
    run_id: str,
    epoch: int,
    *,
    state: RunState,
    report: Mapping[str, Any] | None = None,
    failure: Failure | None = None,
) -> None:
    """End the run for good."""
    _update(
        connection,
        run_id,
        epoch,
        state=str(state),
        report=None if report is None else dict(report),
        failure=None if failure is None else failure.to_record(),
        ended_at=datetime.now(tz=UTC),
    )


def ask_stop(connection: sa.Connection, run_id: str) -> KeeperRun:
    """End a run that waits for its turn, or let the process that works on it know.

    Raises:
        NotFoundError: there is no such run.
        RunEndedError: it has ended already.
    """
    run = get_run(connection, run_id)
    if not run.state.is_active:
        raise RunEndedError(
            f"The run {run_id} is {run.state} and cannot be stopped.",
            remedy="Nothing is left to do.",
            facts={"resource_type": "KeeperRun", "resource_id": run_id},
        )
    values: dict[str, Any] = {"stop_asked": True}
    if run.state is RunState.WAITING:
        values |= {"state": str(RunState.STOPPED), "ended_at": datetime.now(tz=UTC)}
    connection.execute(sa.update(keeper_runs).where(keeper_runs.c.id == run_id).values(values))
    return get_run(connection, run_id)


def _update(connection: sa.Connection, run_id: str, epoch: int, **values: Any) -> None:
    changed = connection.execute(
        sa.update(keeper_runs)
        .where(
            keeper_runs.c.id == run_id,
            keeper_runs.c.epoch == epoch,
            keeper_runs.c.state == str(RunState.RUNNING),
        )
        .values(modified_at=datetime.now(tz=UTC), **values)
    )
    if changed.rowcount != 1:
        raise KeeperRunReplacedError(f"Begin {epoch} of the keeper's run {run_id} is over.")


def _to_run(row: sa.RowMapping) -> KeeperRun:
    return KeeperRun(
        id=row["id"],
        kind=RunKind(row["kind"]),
        state=RunState(row["state"]),
        options=row["options"],
        epoch=row["epoch"],
        attempts=row["attempts"],
        progress=row["progress"],
        report=row["report"],
        failure=None if row["failure"] is None else Failure.from_record(row["failure"]),
        created_by=row["created_by"],
        stop_asked=row["stop_asked"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
    )
