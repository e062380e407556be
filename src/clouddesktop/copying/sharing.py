"""The ranges of a run that other workers may help with, as the worker that runs it sees them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from clouddesktop.catalog import sharing
from clouddesktop.catalog.copies import CopyRun
from clouddesktop.catalog.patience import PatientDatabase
from clouddesktop.catalog.sharing import Claim
from clouddesktop.model.manifest import CopyRange

LEAST_RANGES = 8
"""Ranges of a copy that is worth a second worker, which has to open the source first."""

_PATIENCE_SECONDS = 60.0
"""How long a range that another worker has claimed may take once nothing else is left to do."""


class SharedRanges:
    """Decides which ranges this worker stores itself. Call it from threads."""

    def __init__(self, *, database: PatientDatabase, run: CopyRun, worker_id: str) -> None:
        self._database = database
        self._run = run
        self._worker_id = worker_id
        self._is_shared = False
        self._wanted_since: dict[int, float] = {}

    def share(self, ranges: Sequence[CopyRange]) -> None:
        """Let others help, if there is enough to do.

        Raises:
            RunReplacedError: the run is over.
        """
        self._is_shared = len(ranges) >= LEAST_RANGES
        if self._is_shared:
            self._database.write(sharing.share, self._run, ranges)

    def is_ready(self, index: int) -> bool:
        """Tell whether to go on with a range: it is recorded, or this worker's from now on.

        Raises:
            RunReplacedError: the run is over.
        """
        if not self._is_shared:
            return True
        since = self._wanted_since.setdefault(index, time.monotonic())
        claim = self._database.write(
            sharing.claim,
            self._run,
            index,
            worker_id=self._worker_id,
            by_force=time.monotonic() - since > _PATIENCE_SECONDS,
        )
        return claim is not Claim.OTHERS
