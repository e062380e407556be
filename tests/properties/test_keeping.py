"""Copies, deletions, collections and crashes in any order, inside one another, against a model.

The catalogue and the store are the real ones. At any failpoint of a copy or a collection something
else may happen: another collection, which takes the first one over; another step of another copy;
a deletion; the end of the process.
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clouddesktop.catalog import copies, keeper_runs, rolling_back, tables
from clouddesktop.catalog.copies import CopyRun, is_range_recorded
from clouddesktop.errors import AbortedError, Code, Failure
from clouddesktop.keeping.stats import StoreMeter
from clouddesktop.model.keeping import RunState
from clouddesktop.store.codec import digest_of
from parts.keeping import CHUNK, Crash, Folderful, content_of

PER_RANGE = 3
FAILURE = Failure(code=Code.ABORTED, reason="R", message="m.")
Plan = list[tuple[str, str]]

ACTIONS = ("crash", "collect", "delete", "advance", "copy", "begin", "twin", "fail")

LETTERS = st.text(alphabet="abcdefgh0", min_size=1, max_size=8)
COPY_POINTS = ("range-known", "range-put", "range-recorded", "seal-put", "seal-recorded")
GC_POINTS = (
    "gc-contents-removed",
    "gc-contents-end",
    "gc-packs-removed",
    "gc-packs-end",
    "gc-examined",
    "gc-examined",  # twice as often: here what was found may become untrue
    "gc-chunks-dropped",
    "gc-pack-put",
    "gc-packs-replaced",
    "gc-examining-end",
    "gc-orphan-found",
    "gc-sweeping-end",
)


def plans(points: tuple[str, ...]) -> st.SearchStrategy[Plan]:
    """What happens the first time that a rule passes a failpoint."""
    return st.lists(
        st.tuples(st.sampled_from(points), st.sampled_from(ACTIONS)), min_size=0, max_size=2
    )


@dataclass
class Copying:
    """A copy that was accepted and has not ended: how far its present run is."""

    letters: str
    run: CopyRun
    next_range: int = 0


@dataclass
class Model:
    """What must be true: the images there are and what they hold, and the copies on their way."""

    images: dict[str, str] = field(default_factory=dict)
    copying: dict[str, Copying] = field(default_factory=dict)


@cache
def template() -> Path:
    """A data folder with its tables, made once."""
    folder = Path(tempfile.mkdtemp(prefix="keeping-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Folderful.made(folder).close()
    return folder


def scratch() -> Path:
    """A folder in memory where there is one: what a power cut leaves is other tests' matter."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="keeping-", dir=memory if memory.is_dir() else None))


class Keeping(RuleBasedStateMachine):
    """The machine; a rule that meets a Crash goes on with what the next process finds."""

    def __init__(self) -> None:
        super().__init__()
        self.root = scratch()
        shutil.copytree(template(), self.root, dirs_exist_ok=True)
        self.numbers = itertools.count()
        self.model = Model()
        self.plan: Plan = []
        self.is_inside = False
        self.is_lenient = False
        """Whether a collection was content with packs that are half live: their rest stays."""
        self.folder = self.opened()

    def opened(self) -> Folderful:
        return Folderful(folder=self.root, failpoint=self.failpoint, numbers=self.numbers)

    def failpoint(self, name: str) -> None:
        """Do what the plan has for this failpoint; nothing happens inside what happens there."""
        if self.is_inside:
            return
        due = [action for point, action in self.plan if point == name]
        self.plan = [each for each in self.plan if each[0] != name]
        for action in due:
            if action == "crash":
                raise Crash
            self.is_inside = True
            try:
                self.happen(action)
            finally:
                self.is_inside = False

    @contextmanager
    def planned(self, plan: Plan) -> Iterator[None]:
        """Run a rule's work with its plan; after a crash, look at what is there."""
        self.plan = plan
        try:
            yield
        except AbortedError:
            assert plan, "only what happened in between replaces a run, or takes its chunks"
        except Crash:
            self.folder.close()
            self.folder = self.opened()
            for name, copying in list(self.model.copying.items()):
                self.pick_up(name, copying)
        finally:
            self.plan = []

    def pick_up(self, name: str, copying: Copying) -> None:
        """Go on with a copy in another run, as the next process does."""
        run = self.folder.database.write(copies.begin_run, f"e3o{name}")
        if run is None:  # it had ended, and the process died before it said so
            self.end(name)
            return
        copying.run, copying.next_range = run, 0

    def end(self, name: str) -> None:
        copying = self.model.copying.pop(name)
        images = self.folder.column(tables.images.c.name)
        if name in images:
            self.model.images[name] = copying.letters

    def happen(self, action: str) -> None:
        if action == "collect":
            self.collect_all(least_live=1.0)
        elif action == "begin":
            self.begin("abc")
        elif action == "copy":
            self.finish(self.begin("hgfedcba"))
        elif action in {"twin", "delete"} and self.model.images:
            first = next(iter(self.model.images))
            (self.twin if action == "twin" else self.delete_image)(first)
        elif action in {"advance", "fail"} and self.model.copying:
            first = next(iter(self.model.copying))
            self.pick_up(first, self.model.copying[first])
            if action == "advance":
                self.finish(first)
            elif first in self.model.copying:
                self.roll_back(first)

    def finish(self, name: str) -> None:
        while name in self.model.copying:
            self.advance_copy(name)

    def begin(self, letters: str) -> str:
        name = f"image{next(self.numbers)}"
        self.model.copying[name] = Copying(letters, self.folder.begin_copy(name))
        return name

    def advance_copy(self, name: str) -> None:
        """Store the next range; after the last, seal and publish."""
        copying = self.model.copying[name]
        run, index = copying.run, copying.next_range
        first = index * PER_RANGE
        if first < len(copying.letters):
            if not self.folder.database.read(is_range_recorded, run, index):
                letters = copying.letters[first : first + PER_RANGE]
                self.folder.store_range(run, index, first, letters)
            copying.next_range = index + 1
            return
        manifest = self.folder.seal(run, len(copying.letters))
        self.folder.publish(run, manifest)
        self.end(name)

    def roll_back(self, name: str) -> None:
        run = self.model.copying[name].run
        self.folder.database.write(rolling_back.record_failure, run, FAILURE)
        gone = self.folder.database.write(rolling_back.roll_back, run)
        self.failpoint("rolled-back")
        for pack_id in gone:
            self.folder.chunks.delete_pack(pack_id)
        self.folder.database.write(rolling_back.finish_rollback, run)
        del self.model.copying[name]

    def delete_image(self, name: str) -> None:
        self.folder.delete(name)
        del self.model.images[name]

    def twin(self, origin: str) -> None:
        name = f"image{next(self.numbers)}"
        if self.folder.copy_known(name, origin):
            self.model.images[name] = self.model.images[origin]

    def collect_all(self, *, least_live: float) -> None:
        """Run a collection to its end, or take over the one that is at work."""
        active = self.folder.database.read(keeper_runs.list_active_runs)
        turn = self.folder.turn(active[0].id if active else "")
        report = self.folder.collector(least_live=least_live).run(turn)
        self.folder.database.write(
            keeper_runs.end_run, turn.run_id, turn.epoch, state=RunState.DONE, report=report
        )
        assert report["problems"] == []

    @rule(letters=LETTERS, plan=plans(COPY_POINTS))
    def copy(self, letters: str, plan: Plan) -> None:
        """A whole copy, unless it is replaced, or the process ends."""
        with self.planned(plan):
            self.finish(self.begin(letters))

    @rule(letters=LETTERS)
    def accept_copy(self, letters: str) -> None:
        self.begin(letters)

    @precondition(lambda self: self.model.copying)
    @rule(data=st.data(), plan=plans(COPY_POINTS))
    def advance(self, data: st.DataObject, plan: Plan) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.copying)))
        with self.planned(plan):
            self.advance_copy(name)

    @precondition(lambda self: self.model.copying)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        self.roll_back(data.draw(st.sampled_from(sorted(self.model.copying))))

    @precondition(lambda self: self.model.images)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self.delete_image(data.draw(st.sampled_from(sorted(self.model.images))))

    @precondition(lambda self: self.model.images)
    @rule(data=st.data())
    def copy_known(self, data: st.DataObject) -> None:
        self.twin(data.draw(st.sampled_from(sorted(self.model.images))))

    @rule(plan=plans(GC_POINTS), least_live=st.sampled_from([0.5, 1.0]))
    def collect(self, plan: Plan, least_live: float) -> None:
        self.is_lenient |= least_live < 1
        with self.planned(plan):
            self.collect_all(least_live=least_live)

    @invariant()
    def every_image_reads_back_exactly(self) -> None:
        for name, letters in self.model.images.items():
            assert self.folder.read(name) == plain_of(letters), name

    @invariant()
    def every_indexed_chunk_can_be_read(self) -> None:
        self.folder.check_index()

    @invariant()
    def no_recorded_chunk_is_lost(self) -> None:
        indexed = self.folder.indexed_chunks()
        for name, copying in self.model.copying.items():
            for index in range(len(copying.letters) // PER_RANGE + 1):
                if self.folder.database.read(is_range_recorded, copying.run, index):
                    first = index * PER_RANGE
                    letters = copying.letters[first : first + PER_RANGE]
                    assert digests_of(letters) <= indexed, name

    def teardown(self) -> None:
        """Let every copy end; then two collections leave what is needed and nothing else."""
        try:
            self.is_inside = True
            for name in list(self.model.copying):
                if int(name.removeprefix("image")) % 2:
                    self.roll_back(name)
                self.finish(name)
            for _ in range(2):
                self.collect_all(least_live=1.0)
            self.every_image_reads_back_exactly()
            self.nothing_dead_stays()
        finally:
            self.folder.close()
            shutil.rmtree(self.root)

    def nothing_dead_stays(self) -> None:
        folder = self.folder
        assert folder.indexed_chunks() == digests_of("".join(self.model.images.values()))
        assert folder.stored_packs() == folder.indexed_packs()
        assert set(folder.column(tables.packs.c.number)) == set(
            folder.column(tables.chunks.c.pack)
        ), "a pack has no chunk"
        blobs = list(folder.manifests.iter_blobs())
        assert len(blobs) == len({each.digest for each in blobs})
        assert {each.digest for each in blobs} == set(folder.column(tables.images.c.manifest))
        figures = StoreMeter(database=folder.database, manifests=folder.manifests).measure()
        if not self.is_lenient:
            assert figures.dead_bytes == 0


def plain_of(letters: str) -> bytes:
    return b"".join(bytes(CHUNK) if each == "0" else content_of(each) for each in letters)


def digests_of(letters: str) -> set[bytes]:
    return {digest_of(content_of(each)) for each in letters if each != "0"}


KeepingTest = Keeping.TestCase
KeepingTest.settings = settings(
    stateful_step_count=20,
    # Shrinking takes many minutes; the steps that a failure prints are few enough to read.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
