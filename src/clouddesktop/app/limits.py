"""Puts the parts together that watch over calls, and that let go of what is too old."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from clouddesktop.api.rates import RateLimit
from clouddesktop.app.bootstrap import DataFolder
from clouddesktop.audit import AuditLog
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.pruning import PRUNED_AT_ONCE
from clouddesktop.config import Settings
from clouddesktop.keeping.retention import Retention
from clouddesktop.workflow.engine import WorkflowEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitParts:
    """The audit log, the rate limit if there is one, and the retention of operations."""

    audit_log: AuditLog
    rate_limit: RateLimit | None
    retention: Retention


@contextmanager
def limiting(
    settings: Settings, folder: DataFolder, database: Database, workflows: WorkflowEngine
) -> Iterator[LimitParts]:
    """Build them as the settings say; the audit log's file is let go of at the end."""
    audit_log = AuditLog(
        folder.audit, most_bytes=settings.audit_size, most_files=settings.audit_files
    )
    rate_limit = None
    if settings.rate_limit:
        rate_limit = RateLimit(calls_per_second=settings.rate_limit, burst=settings.rate_burst)
    try:
        yield LimitParts(
            audit_log=audit_log,
            rate_limit=rate_limit,
            retention=Retention(
                database=database,
                days=settings.operation_retention,
                prune_workflows=partial(workflows.prune, at_once=PRUNED_AT_ONCE),
            ),
        )
    finally:
        audit_log.close()
