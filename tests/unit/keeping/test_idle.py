"""Collections that begin by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clouddesktop.catalog import keeper_runs
from clouddesktop.keeping.idle import IdleCollections
from clouddesktop.keeping.runs import Keeper
from clouddesktop.model.keeping import KeeperRun, RunKind, RunState
from parts.keeping import Folderful
from parts.waiting import wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folderful]:
    made = Folderful.made(tmp_path)
    yield made
    made.close()


def runs_of(folder: Folderful) -> list[KeeperRun]:
    return folder.database.read(keeper_runs.list_runs, limit=10)


def test_garbage_is_collected_after_its_time(folder: Folderful) -> None:
    """Not before, not while a copy runs, and not again once there is none."""
    now = [0.0]
    keeper = Keeper(database=folder.database, works={RunKind.GC: folder.collector().run})
    idle = IdleCollections(
        database=folder.database, desk=keeper.desk, after_seconds=100, clock=lambda: now[0]
    )

    def pass_seconds(seconds: float) -> None:
        now[0] += seconds
        idle.look()

    folder.copy("one", "ab")
    pass_seconds(200)
    folder.delete("one")
    copying = folder.begin_copy("two")
    pass_seconds(60)
    pass_seconds(99)
    assert runs_of(folder) == []
    pass_seconds(60)
    assert runs_of(folder) == [], "a copy runs"
    manifest = folder.seal(copying, 1)
    folder.publish(copying, manifest)
    pass_seconds(60)
    (run,) = runs_of(folder)
    assert run.created_by == ""
    assert run.options == {"keep_unknown": True}
    keeper.launch()
    wait_for(lambda: runs_of(folder)[0].state is RunState.DONE, "it is done")
    for _ in range(9):
        pass_seconds(60)
    assert len(runs_of(folder)) == 1
    assert keeper.close(timeout_seconds=20)


def test_zero_means_never(folder: Folderful) -> None:
    """Whatever there is."""
    folder.copy("one", "ab")
    folder.delete("one")
    now = [0.0]
    keeper = Keeper(database=folder.database, works={RunKind.GC: folder.collector().run})
    idle = IdleCollections(
        database=folder.database, desk=keeper.desk, after_seconds=0, clock=lambda: now[0]
    )
    for _ in range(3):
        now[0] += 1e6
        idle.look()
    assert runs_of(folder) == []
