"""Who counts as alive among the workers of a database, and what becomes of the work of the dead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from clouddesktop.catalog import tables, workers
from clouddesktop.catalog.engine import Database
from clouddesktop.workflow.engine import migrate_workflows
from clouddesktop.workflow.membership import Membership
from clouddesktop.workflow.queue import WorkflowQueue
from parts.postgres import Postgres
from parts.waiting import wait_for

LEASE_SECONDS = 1.0
WAIT_SECONDS = 30
AGES = timedelta(days=1)


@dataclass
class Workers:
    """A database with memberships of this process, and rows of others that never ran."""

    database: Database
    queue: WorkflowQueue
    joined: list[Membership] = field(default_factory=list)

    def join(
        self, worker_id: str, *, lease_seconds: float = LEASE_SECONDS, on_lost: Callable[[], None]
    ) -> Membership:
        membership = Membership(
            database=self.database,
            queue=self.queue,
            worker_id=worker_id,
            host="here",
            lease_seconds=lease_seconds,
            on_lost=on_lost,
        )
        membership.join()
        self.joined.append(membership)
        return membership

    def add(
        self,
        worker_id: str,
        *,
        silent_for: timedelta = timedelta(0),
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """Add a worker that gave its last sign so long ago."""
        self.database.write(
            workers.join,
            worker_id,
            host="elsewhere",
            lease_seconds=lease_seconds,
            workflows="1",
        )
        if silent_for:
            self.database.write(
                lambda each: each.execute(
                    sa.update(tables.workers)
                    .where(tables.workers.c.id == worker_id)
                    .values(renewed_at=datetime.now(tz=UTC) - silent_for)
                )
            )

    def living(self) -> set[str]:
        return self.database.read(workers.list_living)

    def add_workflow(self, workflow_id: str, *, taken_by: str) -> None:
        """Add a workflow as if a worker had taken it from the queue."""

        def add(connection: sa.Connection) -> None:
            self.queue.enqueue(
                connection, "copy_image", "e3o", workflow_id=workflow_id, partition="p"
            )
            connection.exec_driver_sql(
                "UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = %s"
                " WHERE workflow_uuid = %s",
                (taken_by, workflow_id),
            )

        self.database.write(add)

    def taken(self) -> dict[str, str]:
        """Tell which worker has which workflow."""
        return {each.id: each.worker for each in self.queue.list_running()}


@pytest.fixture
def installation(postgres: Postgres) -> Iterator[Workers]:
    database = Database(postgres.make_database())
    database.migrate(further=lambda: migrate_workflows(database.url))
    queue = WorkflowQueue(database_url=database.url)
    queue.open()
    queue.set_bounds(per_worker=2, per_folder=None)
    made = Workers(database, queue)
    yield made
    for each in made.joined:
        each.leave()
    queue.close()
    database.close()


def unexpected() -> None:
    raise AssertionError("It was taken for dead.")


def wait_steady(membership: Membership) -> None:
    """Wait until it has given signs for a lease, and let it look."""
    wait_for(membership._is_steady, "a lease with signs")
    membership.look_after_others()


def test_a_silent_worker_is_removed_and_its_work_goes_on(installation: Workers) -> None:
    """That of the living stays where it is, and so does that of a worker that has just spoken."""
    mine = installation.join("mine", on_lost=unexpected)
    installation.add("fresh")
    installation.add("silent", silent_for=AGES)
    for each in ("mine", "silent", "gone"):
        installation.add_workflow(f"of-{each}", taken_by=each)
    mine.look_after_others()
    assert installation.taken() == {"of-mine": "mine", "of-silent": "silent"}
    assert installation.living() == {"mine", "fresh", "silent"}
    wait_steady(mine)
    assert installation.taken() == {"of-mine": "mine"}
    assert "silent" not in installation.living()
    assert installation.queue.is_live("of-silent")


def test_who_comes_back_learns_that_it_was_removed(installation: Workers) -> None:
    """At its next sign of life, and only once."""
    lost = threading.Event()
    installation.join("mine", on_lost=lost.set)
    assert not lost.wait(LEASE_SECONDS)
    installation.database.write(workers.leave, "mine")
    assert lost.wait(WAIT_SECONDS)


def test_after_the_database_was_away_nobody_is_removed(
    postgres: Postgres, installation: Workers
) -> None:
    """All have been silent for longer than a lease: those that live get one to speak up."""
    mine = installation.join("mine", on_lost=unexpected)
    wait_steady(mine)
    installation.add("other")
    postgres.crash()
    since = datetime.now(tz=UTC)
    wait_for(
        lambda: datetime.now(tz=UTC) - since > timedelta(seconds=LEASE_SECONDS * 2), "an outage"
    )
    postgres.resume()
    mine.look_after_others()  # before its own first sign, or after it
    assert installation.living() == {"mine", "other"}
    wait_for(lambda: is_fresh(installation, "mine"), "it gives signs again")
    mine.look_after_others()
    assert "other" in installation.living()
    wait_steady(mine)
    assert installation.living() == {"mine"}


def test_one_keeps_the_store_and_another_takes_the_duty_over(installation: Workers) -> None:
    """Once the first has left, or was removed."""
    first = installation.join("first", on_lost=unexpected)
    second = installation.join("second", on_lost=unexpected)
    assert first.look_after_others()
    assert not second.look_after_others()
    installation.joined.remove(first)
    first.leave()
    assert second.look_after_others()


def is_fresh(installation: Workers, worker_id: str) -> bool:
    """Tell whether the database's clock says that a worker has just given a sign."""
    return bool(
        installation.database.read(
            lambda each: each.exec_driver_sql(
                "SELECT renewed_at > timezone('UTC', now()) - interval '0.5 seconds'"
                " FROM workers WHERE id = %s",
                (worker_id,),
            ).scalar_one()
        )
    )


def test_signs_go_on_whatever_goes_wrong(
    installation: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else others would take this worker's copies over for good, while it takes more of them."""
    failed = threading.Event()

    def renew(connection: sa.Connection, worker_id: str) -> bool:
        if not failed.is_set():
            failed.set()
            raise sa.exc.TimeoutError("QueuePool limit of size 8 overflow 32 reached")
        return give_sign(connection, worker_id)

    give_sign = workers.renew
    monkeypatch.setattr(workers, "renew", renew)
    installation.join("mine", on_lost=unexpected)
    assert failed.wait(WAIT_SECONDS)
    since = datetime.now(tz=UTC)
    wait_for(
        lambda: datetime.now(tz=UTC) - since > timedelta(seconds=LEASE_SECONDS), "a lease is over"
    )
    assert is_fresh(installation, "mine")


def test_a_longer_lease_of_another_worker_counts(installation: Workers) -> None:
    """While the setting is changed, one worker after the other: it gives its signs less often."""
    mine = installation.join("mine", on_lost=unexpected)
    silent_for = timedelta(seconds=LEASE_SECONDS * 10)
    installation.add("patient", silent_for=silent_for, lease_seconds=LEASE_SECONDS * 60)
    wait_steady(mine)
    assert installation.living() == {"mine", "patient"}
    installation.add("usual", silent_for=silent_for)  # the last start counts
    mine.look_after_others()
    assert installation.living() == {"mine"}
