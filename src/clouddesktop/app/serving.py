"""The server process: first start, ready line, serving, draining."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import grpc
import structlog
import uvloop
from starlette.types import ASGIApp

from clouddesktop.api.auditing import Auditing, OperationEnds
from clouddesktop.api.authentication import Callers
from clouddesktop.api.http import build_http_app
from clouddesktop.api.openapi import build_openapi
from clouddesktop.api.parts import ApiParts
from clouddesktop.api.quota_http import quota_routes
from clouddesktop.api.reference_page import reference_routes
from clouddesktop.api.rest import RestApp
from clouddesktop.api.served import Api, build_api
from clouddesktop.api.server import GrpcServer
from clouddesktop.api.services import NOT_SERVED
from clouddesktop.api.store_http import store_routes
from clouddesktop.api.system_images_http import system_image_routes
from clouddesktop.api.uploads import upload_routes
from clouddesktop.app.addresses import Address, own_names
from clouddesktop.app.bootstrap import DataFolder, DataFolderDamagedError, write_profile
from clouddesktop.app.foundation import Failpoint, Foundation, founded, no_failpoint
from clouddesktop.app.http_server import HttpServer
from clouddesktop.app.oidc import make_oidc
from clouddesktop.app.parts import Parts, built
from clouddesktop.app.supervisor import State, tell_supervisor
from clouddesktop.app.tls import TlsFiles, prepare_tls
from clouddesktop.app.worker_process import WorkerProcess
from clouddesktop.app.working import Worker, working
from clouddesktop.config import Settings
from clouddesktop.errors import InvalidArgumentError
from clouddesktop.iam.accounts import Accounts
from clouddesktop.iam.bindings import Bindings
from clouddesktop.iam.folders import Folders
from clouddesktop.iam.oidc import OidcTokens
from clouddesktop.keeping.compute_images import ComputeImages
from clouddesktop.keeping.runs import RunDesk
from clouddesktop.keeping.system_images import SystemImages
from clouddesktop.model.access import Resource
from clouddesktop.telemetry import configure_logging
from clouddesktop.trouble import Trouble

_GRACE_SECONDS = 10
"""How long requests and ranges at work may take to end once the server is told to stop."""

_UPKEEP_SECONDS = 5
"""How often operations are looked for that nothing works on any more."""

_log = structlog.get_logger(__name__)


def run_server(settings: Settings, *, failpoint: Failpoint = no_failpoint) -> int:
    """Serve until SIGTERM or SIGINT, then drain; the exit status is 0.

    Prints one line of JSON on standard output once requests are taken; logs go to standard error.

    Raises:
        CloudDesktopError: the server cannot start; names the setting or the file.
    """
    os.umask(0o077)  # whatever folders there are: images and keys are for the server's user alone
    configure_logging("info")
    grpc_address = Address.parse("grpc", settings.grpc)
    http_address = Address.parse("http", settings.http)
    _check_plaintext(settings, grpc_address, http_address)
    names = own_names(grpc_address, http_address, further=settings.names)
    oidc = make_oidc(settings)
    folder = DataFolder(root=settings.data_dir.absolute())
    with ExitStack() as stack:
        stack.enter_context(folder.held())
        tls = None if settings.plaintext else _prepare_tls(folder, names)
        foundation = stack.enter_context(founded(settings, folder, failpoint=failpoint))
        worker = _bring_worker(foundation, stack)
        desk = RunDesk(database=foundation.database) if worker is None else worker.desk
        parts = stack.enter_context(built(foundation, names=names, desk=desk))
        server = _Server(
            foundation=foundation,
            parts=parts,
            worker=worker,
            tls=tls,
            grpc_address=grpc_address,
            http_address=http_address,
            names=settings.names,
            oidc=oidc,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve())
        drained = worker is None or worker.drain(timeout_seconds=_GRACE_SECONDS)
        _log.info("stopped", drained=drained)
    return 0


def _bring_worker(foundation: Foundation, stack: ExitStack) -> Worker | None:
    """Build a worker in this process where nobody shares the database; else start one apart."""
    if not foundation.database.is_shared:
        if foundation.settings.reuse_port:
            raise InvalidArgumentError(
                "The setting reuse_port is for servers of one database: others would get half of"
                " this one's calls.",
                remedy="Leave --reuse-port out, or share a --database postgresql://….",
            )
        if not foundation.settings.workers:
            raise InvalidArgumentError(
                "The setting workers is 0, and nobody else can work on this database.",
                remedy="Leave --workers out, or share a --database postgresql://….",
            )
        return stack.enter_context(working(foundation, on_lost=lambda: None))
    if foundation.settings.workers:
        stack.enter_context(WorkerProcess(foundation.settings, failpoint=foundation.failpoint))
    return None


class _Server:
    """The two listeners over one set of parts."""

    def __init__(
        self,
        *,
        foundation: Foundation,
        parts: Parts,
        worker: Worker | None,
        tls: TlsFiles | None,
        grpc_address: Address,
        http_address: Address,
        names: tuple[str, ...],
        oidc: OidcTokens | None,
    ) -> None:
        self._foundation = foundation
        self._parts = parts
        self._worker = worker
        self._tls = tls
        self._grpc_address = grpc_address
        self._http_address = http_address
        self._names = names
        self._oidc = oidc
        self._advertised = ""
        self._upkeep = Trouble("upkeep")
        find_cloud_id = parts.access.find_cloud_id
        self._auditing = Auditing(parts.audit_log, find_cloud_id=find_cloud_id)
        self._operation_ends = OperationEnds(
            parts.audit_log, database=foundation.database, find_cloud_id=find_cloud_id
        )

    async def serve(self) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        api = build_api(self._api_parts())
        reuses_port = self._foundation.settings.reuse_port
        listener = self._http_address.listen(beside_others=reuses_port)
        http = HttpServer(self._build_http(api), listener=listener, tls=self._tls)
        grpc_server = GrpcServer(
            address=str(self._grpc_address),
            credentials=None if self._tls is None else _credentials(self._tls),
            api=api,
            reuses_port=reuses_port,
        )
        grpc_port = await grpc_server.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(http.run())
            upkeep = group.create_task(self._keep_up())
            await http.wait_started()
            gc.freeze()  # what is loaded now stays: no collection, nor the exit, walks through it
            self._announce(grpc_port=grpc_port, http_port=http.port)
            await stop.wait()
            _log.info("stopping")
            tell_supervisor(State.STOPPING)
            upkeep.cancel()
            if self._worker is not None:
                self._worker.hold()
            http.stop()
            await grpc_server.stop(_GRACE_SECONDS)
        await asyncio.to_thread(self._look_after)  # what the stop waited for has ended

    def _build_http(self, api: Api) -> ASGIApp:
        rest = RestApp(api, NOT_SERVED)
        callers = Callers(tokens=self._parts.tokens, access=self._parts.access, oidc=self._oidc)
        store = store_routes(
            database=self._foundation.database,
            desk=self._parts.desk,
            meter=self._parts.meter,
            callers=callers,
            cloud_id=self._foundation.default_folder.cloud_id,
        )
        quotas = quota_routes(database=self._foundation.database, callers=callers)
        system_images = system_image_routes(
            images=SystemImages(
                database=self._foundation.database,
                cloud=Resource.of_cloud(self._foundation.default_folder.cloud_id),
            ),
            callers=callers,
        )
        uploads = upload_routes(
            uploads=self._parts.uploads, callers=callers, database=self._foundation.database
        )
        reference = reference_routes(build_openapi(rest.table.bindings, api.methods))
        return build_http_app(
            exports=self._parts.exports,
            callers=callers,
            auditing=self._auditing,
            rest=rest,
            further=[*store, *quotas, *system_images, *uploads, *reference],
        )

    def _api_parts(self) -> ApiParts:
        return ApiParts(
            database=self._foundation.database,
            copies=self._parts.copies,
            deletions=self._parts.deletions,
            updates=self._parts.updates,
            tokens=self._parts.tokens,
            access=self._parts.access,
            sources=self._foundation.sources,
            imports=self._parts.imports,
            compute_images=ComputeImages(
                database=self._foundation.database, sources=self._foundation.sources
            ),
            accounts=Accounts(
                database=self._foundation.database,
                access=self._parts.access,
                tokens=self._parts.tokens,
            ),
            folders=Folders(database=self._foundation.database, access=self._parts.access),
            bindings=Bindings(database=self._foundation.database, access=self._parts.access),
            advertised=lambda: self._advertised,
            auditing=self._auditing,
            rate_limit=self._parts.rate_limit,
            oidc=self._oidc,
        )

    def _announce(self, *, grpc_port: int, http_port: int) -> None:
        self._advertised = self._grpc_address.reached_as(grpc_port, names=self._names)
        scheme = "http" if self._tls is None else "https"
        http = f"{scheme}://{self._http_address.reached_as(http_port, names=self._names)}"
        write_profile(
            self._foundation.folder,
            grpc=self._advertised,
            http=http,
            ca=None if self._tls is None else self._tls.ca,
            default=self._foundation.default_folder,
        )
        ready = {
            "event": "ready",
            "grpc": self._advertised,
            "http": http,
            "profile": str(self._foundation.folder.profile),
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        tell_supervisor(State.READY)

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(_UPKEEP_SECONDS)
            await asyncio.to_thread(self._look_after)
            tell_supervisor(State.ALIVE)  # the loop turns, and threads come back to it

    def _look_after(self) -> None:
        self._upkeep.attempt(self._keep_up_once)

    def _keep_up_once(self) -> None:
        self._operation_ends.look()
        if self._worker is not None:
            self._worker.keep_up()


def _prepare_tls(folder: DataFolder, names: set[str]) -> TlsFiles:
    try:
        return prepare_tls(folder.tls, names=names)
    except ValueError as error:
        raise DataFolderDamagedError(
            f"A certificate or key in {folder.tls} is damaged: {error}.",
            remedy="Restore the folder from a backup; or remove it: the next start makes a new"
            " authority, which clients have to be given.",
            facts={"folder": str(folder.tls)},
        ) from error


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials([(_read(tls.key), _read(tls.certificate))])


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _check_plaintext(settings: Settings, *addresses: Address) -> None:
    if settings.plaintext and not all(each.is_loopback for each in addresses):
        raise InvalidArgumentError(
            "Plaintext is for loopback addresses only.",
            remedy="Leave --plaintext out, or listen on 127.0.0.1 alone.",
        )
