"""A GrpcServer in this process: a real database, real tokens, and copies that do nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2_grpc import DesktopImageServiceStub

from clouddesktop.api.auditing import Auditing
from clouddesktop.api.parts import ApiParts
from clouddesktop.api.served import Api, build_api
from clouddesktop.api.server import GrpcServer
from clouddesktop.catalog.bindings import add_binding
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import add_cloud, add_folder
from clouddesktop.catalog.images import add_image
from clouddesktop.copying.importing import ImportStarter
from clouddesktop.copying.start import CopyRequest, CopyStarter
from clouddesktop.iam.access import Access, Caller
from clouddesktop.iam.accounts import Accounts
from clouddesktop.iam.bindings import Bindings
from clouddesktop.iam.folders import Folders
from clouddesktop.iam.oidc import OidcTokens
from clouddesktop.iam.tokens import TokenService
from clouddesktop.keeping.compute_images import ComputeImages
from clouddesktop.keeping.deletion import Deletions
from clouddesktop.keeping.updating import Updates
from clouddesktop.model.access import AccessBinding, Resource, Subject
from clouddesktop.model.folder import Cloud, Folder
from clouddesktop.model.image import Image, ImageStatus
from clouddesktop.model.operation import IdempotencyKey, Operation, OperationKind
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.source.uploads import Uploads
from clouddesktop.workflow.queue import WorkflowQueue
from unit.iam.signing import NOW, make_pair, sign

FOLDER_ID = "b1gfolder"
ADVERTISED = "desktops.example:50051"
CREATED_AT = datetime(2026, 11, 24, 12, 30, 0, 123000, tzinfo=UTC)

AN_IMAGE = Image(
    id="e3vimage",
    folder_id=FOLDER_ID,
    name="Ubuntu 20.04 LTS (2024-12-03)",
    description="ü",
    labels={"team": "vdi"},
    status=ImageStatus.ACTIVE,
    created_at=CREATED_AT,
    storage_size=1234,
    min_disk_size=4 << 20,
)

AN_OPERATION = Operation(
    id="e3ooperation",
    kind=OperationKind.COPY_IMAGE,
    description="Copy desktop image",
    created_at=CREATED_AT,
    created_by="ajeadmin",
    modified_at=CREATED_AT,
    done=False,
    resource_id="e3vimage",
    folder_id=FOLDER_ID,
)


@dataclass
class FakeCopies:
    """Notes what it was asked for; answers with `answer`, or raises it, or waits for ever."""

    answer: Operation | BaseException | None = AN_OPERATION
    started: list[tuple[CopyRequest, Subject, IdempotencyKey | None]] = field(default_factory=list)
    is_waiting: asyncio.Event = field(default_factory=asyncio.Event)
    was_cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(
        self, request: CopyRequest, *, caller: Caller, idempotency: IdempotencyKey | None
    ) -> Operation:
        self.started.append((request, caller.subject, idempotency))
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer is None:
            self.is_waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.was_cancelled.set()
                raise
            raise AssertionError
        return self.answer


@dataclass
class Served:
    """A running server and a channel to it."""

    server: GrpcServer
    channel: grpc.aio.Channel
    port: int
    copies: FakeCopies
    tokens: TokenService
    database: Database
    token: str

    @property
    def authorization(self) -> tuple[str, str]:
        return ("authorization", f"Bearer {self.token}")

    @property
    def images(self) -> Any:
        return DesktopImageServiceStub(self.channel)

    async def call(
        self,
        method: Callable[..., Any],
        request: Message,
        *metadata: tuple[str, str],
        authorized: bool = True,
    ) -> Any:
        everything = (*metadata, self.authorization) if authorized else metadata
        return await method(request, metadata=everything, timeout=20)

    def add_images(self, *images: Image) -> None:
        for image in images:
            self.database.write(add_image, image)


def an_image(number: int, **values: Any) -> Image:
    """Make another image; ids are in the order of the numbers."""
    changes: dict[str, Any] = {"id": f"e3v{number:017}", "name": str(number), **values}
    return replace(AN_IMAGE, **changes)


def make_tokens() -> TokenService:
    key, _ = make_pair()
    return TokenService(
        signing_key=b"s" * 32,
        find_key={key.id: key}.get,
        audiences=["localhost"],
        clock=lambda: NOW,
    )


@cache
def _migrated() -> bytes:
    """Make an empty catalogue, once for all tests: the migrations take half a second."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.db"
        database = Database(f"sqlite:///{path}")
        database.migrate()
        database.close()
        assert [each.name for each in path.parent.iterdir()] == [path.name]  # nothing is in a WAL
        return path.read_bytes()


def make_database(folder: Path) -> Database:
    path = folder / "catalogue.db"
    path.write_bytes(_migrated())
    database = Database(f"sqlite:///{path}")
    database.write(add_cloud, Cloud(id="b1ccloud", name="default", created_at=CREATED_AT))
    a_folder = Folder(id=FOLDER_ID, cloud_id="b1ccloud", name="default", created_at=CREATED_AT)
    database.write(add_folder, a_folder)
    binding = AccessBinding(role_id="admin", subject_id="ajeadmin", subject_type="serviceAccount")
    database.write(add_binding, Resource.of_cloud("b1ccloud"), binding)
    return database


class NoWorkflows:
    """What is accepted is done by nobody."""

    def enqueue(self, *_arguments: Any, **_options: Any) -> None: ...


def make_api(
    *,
    database: Database,
    copies: FakeCopies,
    tokens: TokenService,
    auditing: Auditing | None = None,
    sources: SourceCatalogue | None = None,
    oidc: OidcTokens | None = None,
) -> Api:
    sources = sources or SourceCatalogue([])
    queue = cast("WorkflowQueue", NoWorkflows())
    access = Access(database=database)
    parts = ApiParts(
        database=database,
        copies=cast("CopyStarter", copies),
        deletions=Deletions(database=database, failpoint=lambda _name: None),
        updates=Updates(database=database),
        tokens=tokens,
        access=access,
        sources=sources,
        imports=ImportStarter(
            database=database,
            sources=sources,
            uploads=Uploads(Path("/nowhere"), most_bytes=0, expire_seconds=1),
            queue=queue,
        ),
        compute_images=ComputeImages(database=database, sources=sources),
        accounts=Accounts(database=database, access=access, tokens=tokens),
        folders=Folders(database=database, access=access),
        bindings=Bindings(database=database, access=access),
        advertised=lambda: ADVERTISED,
        auditing=auditing,
        oidc=oidc,
    )
    return build_api(parts)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Served]:
    """Serve in plaintext on a free port until the end of the block."""
    tokens, copies, database = make_tokens(), FakeCopies(), make_database(folder)
    server = GrpcServer(
        address="127.0.0.1:0",
        credentials=None,
        api=make_api(database=database, copies=copies, tokens=tokens),
    )
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            yield Served(
                server=server,
                channel=channel,
                port=port,
                copies=copies,
                tokens=tokens,
                database=database,
                token=tokens.exchange_jwt(sign()).token,
            )
        finally:
            await server.stop(0)
            database.close()


def details_of(error: grpc.aio.AioRpcError, *types: type[Message]) -> list[Any]:
    """Give the status's details of these types."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    assert status is not None
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    found = []
    for message_type in types:
        for each in status.details:
            message = message_type()
            if each.Unpack(message):
                found.append(message)
    return found


def metadata_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    return dict(error.trailing_metadata() or ())
