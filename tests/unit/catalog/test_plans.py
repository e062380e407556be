"""PostgreSQL's plans of the frequent queries: none reads a table that grows from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg.conninfo
import pytest
import sqlalchemy as sa
from psycopg import sql

from clouddesktop.catalog.engine import Database
from clouddesktop.workflow.queue import WorkflowQueue
from parts.plans import (
    Ask,
    Known,
    Plan,
    calls_queries,
    explained,
    find_known,
    quota_queries,
    workers_queries,
)
from parts.postgres import Postgres
from parts.rows import Shape, fill, make_templates
from parts.server import ServerProcess

SHAPE = Shape(images=20_000, operations=40_000, folders=20)
GROWING = {
    *("images", "operations", "idempotency_keys", "manifests", "known_contents", "packs", "chunks"),
    *("manifest_packs", "workflow_status", "workflow_input", "workflow_output"),
    "operation_outputs",
}
MOST_PASSED_OVER = SHAPE.images // 10
"""Rows that are read and not wanted: an index that is read from end to end is as bad as a table."""


@pytest.fixture(scope="module")
def database(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    url = postgres.make_database()
    folder: Path = tmp_path_factory.mktemp("plans")
    server = ServerProcess(
        data_dir=folder / "data",
        sources={"images": folder / "images"},
        options=("--database", url),
    )
    fill(url, SHAPE, make_templates(server))
    with postgres.connect(autocommit=True) as connection:
        # Tables of some thousand rows are best read whole: here only what no index can answer is.
        name = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(url)["dbname"]))
        connection.execute(sql.SQL("ALTER DATABASE {} SET enable_seqscan = off").format(name))
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def queue(database: Database) -> Iterator[WorkflowQueue]:
    opened = WorkflowQueue(database_url=database.url)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def known(database: Database) -> Known:
    return find_known(database)


def test_no_frequent_query_reads_a_growing_table_whole(
    database: Database, queue: WorkflowQueue, known: Known
) -> None:
    """Neither those of calls nor those of workers, and none passes over many rows."""
    asked = {**calls_queries(database, known), **workers_queries(database, queue, known)}
    wrong: list[str] = []
    for name, ask in asked.items():
        plans = explain(ask)
        assert plans, name
        wrong += [
            f"{name}: {plan.describe()}, {plan.rows_passed_over} rows passed over"
            for plan in plans
            if plan.scanned & GROWING or plan.rows_passed_over > MOST_PASSED_OVER
        ]
    assert not wrong, "\n".join(wrong)


def test_a_scan_is_noticed(database: Database) -> None:
    """What has no index is told from what has one."""

    def count_named(connection: sa.Connection) -> None:
        connection.execute(sa.text("SELECT count(*) FROM images WHERE description = 'x'"))

    (plan,) = explain(lambda: database.read(count_named))
    assert plan.scanned == {"images"}
    assert plan.rows_passed_over >= SHAPE.images


def test_quotas_are_added_up_from_the_sums_of_folders(database: Database, known: Known) -> None:
    """No image is looked at but those that are being made, of which there are none here."""
    for name, ask in quota_queries(database, known).items():
        nodes = [node for plan in explain(ask) for node in plan.nodes]
        read = {
            each["Relation Name"]: each
            for each in nodes
            if each.get("Actual Rows") and "Relation Name" in each
        }
        assert {"folder_usage"} <= set(read) <= {"folder_usage", "folders", "quota_limits"}, name
        assert read["folder_usage"]["Actual Rows"] <= SHAPE.folders + 1, name


def explain(ask: Ask) -> list[Plan]:
    with explained() as plans:
        ask()
    return plans
