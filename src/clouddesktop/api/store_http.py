"""The store over HTTP: what it holds, and the keeper's runs; paths of our own.

GET  /store/v1/stats            what the store holds, and each image's share
POST /store/v1/runs             {"kind": "gc", "dry_run": true}: starts a run
GET  /store/v1/runs             the latest runs, the newest first; ?limit=…
GET  /store/v1/runs/{id}        one run, and how far it is
POST /store/v1/runs/{id}:stop   ends a run before its work is done

Tokens and errors are the API's. Numbers are JSON numbers, times RFC 3339, names snake_case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import MessageToDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clouddesktop.api.authentication import Callers
from clouddesktop.api.json_bodies import read_json_object
from clouddesktop.api.status import to_status
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.keeper_runs import get_run, list_runs
from clouddesktop.errors import FieldViolation, InvalidArgumentError
from clouddesktop.iam.access import Caller
from clouddesktop.keeping.runs import RunDesk
from clouddesktop.keeping.stats import StoreFigures, StoreMeter
from clouddesktop.model.access import Resource
from clouddesktop.model.keeping import RUN_OPTIONS, KeeperRun, RunKind
from clouddesktop.model.roles import Permission

_MOST_RUNS = 1000
_DEFAULT_RUNS = 20


def store_routes(
    *, database: Database, desk: RunDesk, meter: StoreMeter, callers: Callers, cloud_id: str
) -> list[Route]:
    """Build the routes, to be put beside those of the delivery; `cloud_id` is whose store it is."""
    cloud = Resource.of_cloud(cloud_id)
    store = _Store(database=database, desk=desk, meter=meter, callers=callers, cloud=cloud)
    return [
        Route("/store/v1/stats", store.get_stats, methods=["GET"]),
        Route("/store/v1/runs", store.list_runs, methods=["GET"]),
        Route("/store/v1/runs", store.start_run, methods=["POST"]),
        Route("/store/v1/runs/{run_id}:stop", store.stop_run, methods=["POST"]),
        Route("/store/v1/runs/{run_id}", store.get_run, methods=["GET"]),
    ]


class _Store:
    def __init__(
        self,
        *,
        database: Database,
        desk: RunDesk,
        meter: StoreMeter,
        callers: Callers,
        cloud: Resource,
    ) -> None:
        self._database = database
        self._desk = desk
        self._meter = meter
        self._callers = callers
        self._cloud = cloud

    async def get_stats(self, request: Request) -> Response:
        await self._admit(request, Permission.STORE_GET)
        return JSONResponse(stats_to_record(await asyncio.to_thread(self._meter.measure)))

    async def list_runs(self, request: Request) -> Response:
        await self._admit(request, Permission.STORE_GET)
        limit = _read_limit(request)
        runs = await self._database.aread(list_runs, limit=limit)
        return JSONResponse({"runs": [run_to_record(each) for each in runs]})

    async def start_run(self, request: Request) -> Response:
        caller = await self._admit(request, Permission.STORE_MANAGE)
        kind, options = _read_order(await read_json_object(request, example='{"kind": "gc"}'))
        run = await asyncio.to_thread(self._desk.start, kind, options=options, created_by=caller.id)
        return JSONResponse(run_to_record(run))

    async def get_run(self, request: Request) -> Response:
        await self._admit(request, Permission.STORE_GET)
        run = await self._database.aread(get_run, request.path_params["run_id"])
        return JSONResponse(run_to_record(run))

    async def stop_run(self, request: Request) -> Response:
        await self._admit(request, Permission.STORE_MANAGE)
        run = await asyncio.to_thread(self._desk.stop_run, request.path_params["run_id"])
        return JSONResponse(run_to_record(run))

    async def _admit(self, request: Request, permission: Permission) -> Caller:
        caller = await self._callers.find_sender(request)
        caller.require(permission, self._cloud)
        return caller


def run_to_record(run: KeeperRun) -> dict[str, Any]:
    """Give a run as JSON-ready values; what it has not got yet is left out."""
    record: dict[str, Any] = {
        "id": run.id,
        "kind": str(run.kind),
        "state": str(run.state),
        "options": dict(run.options),
        "created_by": run.created_by,
        "created_at": _to_text(run.created_at),
        "progress": dict(run.progress),
    }
    if run.started_at is not None:
        record["started_at"] = _to_text(run.started_at)
    if run.ended_at is not None:
        record["ended_at"] = _to_text(run.ended_at)
    if run.report is not None:
        record["report"] = dict(run.report)
    if run.failure is not None:
        record["error"] = MessageToDict(to_status(run.failure, run.id))
    return record


def stats_to_record(figures: StoreFigures) -> dict[str, Any]:
    """Give the store's figures as JSON-ready values."""
    record: dict[str, Any] = {
        "logical_bytes": figures.logical_bytes,
        "unique_bytes": figures.unique_bytes,
        "stored_bytes": figures.stored_bytes,
        "dead_bytes": figures.dead_bytes,
        "ratio": figures.ratio,
        "packs": figures.packs,
        "chunks": figures.chunks,
        "images": [
            {
                "id": each.usage.id,
                "name": each.usage.name,
                "folder_id": each.usage.folder_id,
                "disk_bytes": each.usage.disk_size,
                "logical_bytes": each.logical_bytes,
                "stored_bytes": each.usage.stored_bytes,
                "exclusive_bytes": each.exclusive_bytes,
                "verified_at": (
                    None if each.usage.verified_at is None else _to_text(each.usage.verified_at)
                ),
            }
            for each in figures.images
        ],
        "problems": figures.problems,
        "last_collection": None,
    }
    if figures.last_collection is not None:
        record["last_collection"] = run_to_record(figures.last_collection)
    return record


def _read_order(body: Mapping[str, Any]) -> tuple[RunKind, dict[str, Any]]:
    """Take apart what kind of run is ordered, and with which options."""
    kinds = [str(each) for each in RunKind]
    if body.get("kind") not in kinds:
        raise InvalidArgumentError.of_fields(
            [FieldViolation(field="kind", description=f"Value must be one of {', '.join(kinds)}")]
        )
    kind = RunKind(body["kind"])
    options = {name: value for name, value in body.items() if name != "kind"}
    known = RUN_OPTIONS[kind]
    violations = [
        FieldViolation(field=name, description=f"Value must be a {known[name].__name__}")
        if name in known
        else FieldViolation(field=name, description=f"A run of the kind {kind} has no such option")
        for name, value in options.items()
        if type(value) is not known.get(name)
    ]
    if violations:
        raise InvalidArgumentError.of_fields(violations)
    return kind, options


def _read_limit(request: Request) -> int:
    text = request.query_params.get("limit", str(_DEFAULT_RUNS))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MOST_RUNS):
        raise InvalidArgumentError.of_fields(
            [FieldViolation(field="limit", description=f"Value must be from 1 to {_MOST_RUNS}")]
        )
    return int(text[:9])


def _to_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
