"""A connection to one server: TLS, tokens and the official stubs, ready to call."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    DeleteDesktopImageRequest,
    GetDesktopImageRequest,
    ListDesktopImagesRequest,
    UpdateDesktopImageRequest,
)
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2_grpc import DesktopImageServiceStub
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import (
    CancelOperationRequest,
    GetOperationRequest,
)
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub

from clouddesktop import __version__
from clouddesktop.client import operations
from clouddesktop.client.calls import CallError, translated_errors
from clouddesktop.client.identity import ServiceAccountKey, TokenFile, Tokens, TokenSource
from clouddesktop.client.interceptors import AuthorizingInterceptor
from clouddesktop.client.profile import Profile
from clouddesktop.errors import Code, NotFoundError

if TYPE_CHECKING:
    from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2_grpc import (
        DesktopImageServiceAsyncStub,
    )
    from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceAsyncStub

_MOST_NAME = 50  # characters of a name, as the API has it
_PAGE_SIZE = 1000
_CALL_SECONDS = 60.0
_VERIFIED_AT_KEY = "x-image-verified-at"
_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.primary_user_agent", f"clouddesktop/{__version__}"),
    # Safe for every call: those that change something carry an idempotency key.
    (
        "grpc.service_config",
        json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _RETRY_POLICY}]}),
    ),
    # gRPC's own are up to two minutes: too long after a restart of the server.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


@asynccontextmanager
async def connect(profile: Profile | Path | str) -> AsyncIterator[Connection]:
    """Open a connection to the server of `profile` (or of the profile file at that path).

    Nothing is sent before the first call, so a server that is down shows then.

    Raises:
        ProfileError: the profile, its CA or its key cannot be used.
    """
    if not isinstance(profile, Profile):
        profile = Profile.load(profile)
    options = (*_CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0 if profile.is_loopback else 1))
    async with _open_channel(profile, options, ()) as plain_channel:
        tokens: Tokens | None = None
        if profile.token_file is not None:
            tokens = TokenFile(profile.token_file)
        elif profile.key is not None:
            key = ServiceAccountKey.load(profile.key)
            tokens = TokenSource(channel=plain_channel, endpoint=profile.endpoint, key=key)
        interceptor = AuthorizingInterceptor(tokens)
        async with _open_channel(profile, options, (interceptor,)) as channel:
            yield Connection(profile=profile, channel=channel, tokens=tokens)


def _open_channel(
    profile: Profile,
    options: tuple[tuple[str, Any], ...],
    interceptors: tuple[grpc.aio.UnaryUnaryClientInterceptor, ...],
) -> grpc.aio.Channel:
    if profile.is_plaintext:
        return grpc.aio.insecure_channel(profile.endpoint, options, None, interceptors)
    credentials = grpc.ssl_channel_credentials(profile.read_ca())
    return grpc.aio.secure_channel(profile.endpoint, credentials, options, None, interceptors)


class Connection:
    """The calls of one server; made by `connect`.

    `images` and `operations` are the official stubs; any other stub can be made on `channel`. All
    of them send a token, get a new one when the server refuses it, and send an idempotency key with
    each call that changes something. The methods below raise CallError where the stubs raise gRPC's
    own errors.
    """

    def __init__(
        self, *, profile: Profile, channel: grpc.aio.Channel, tokens: Tokens | None
    ) -> None:
        self.profile = profile
        self.channel = channel
        self.tokens = tokens
        self.images = cast("DesktopImageServiceAsyncStub", DesktopImageServiceStub(channel))
        self.operations = cast("OperationServiceAsyncStub", OperationServiceStub(channel))

    async def copy_image(
        self,
        *,
        compute_image_id: str,
        name: str,
        folder_id: str = "",
        description: str = "",
        labels: Mapping[str, str] | None = None,
        checksum: str = "",
        priority: str = "",
        idempotency_key: str = "",
    ) -> Operation:
        """Start copying a compute image; the operation may come back done.

        `checksum` (`sha256:<hex>`, or of sha512 or md5) is what the source's file should have: the
        copy fails if it does not. `priority` (`high`, `normal`, `low`) counts among the copies that
        wait in the folder.
        Calling again with the same `idempotency_key` (a UUID; drawn when empty) gives the first
        call's operation.
        """
        request = CopyDesktopImageRequest(
            folder_id=folder_id or self.profile.folder_id,
            name=name,
            image_id=compute_image_id,
            description=description,
            labels=labels or {},
        )
        metadata: tuple[tuple[str, str], ...]
        metadata = (("idempotency-key", idempotency_key or str(uuid.uuid4())),)
        if checksum:
            metadata += (("x-clouddesktop-checksum", checksum),)
        if priority:
            metadata += (("x-clouddesktop-priority", priority),)
        with translated_errors(self.profile.endpoint):
            return await self.images.Copy(request, metadata=metadata, timeout=_CALL_SECONDS)

    async def delete_image(self, image_id: str, *, idempotency_key: str = "") -> Operation:
        """Delete an image; the operation comes back done.

        Calling again with the same `idempotency_key` (a UUID; drawn when empty) gives the first
        call's operation; with another one, NOT_FOUND.
        """
        request = DeleteDesktopImageRequest(image_id=image_id)
        metadata = (("idempotency-key", idempotency_key or str(uuid.uuid4())),)
        with translated_errors(self.profile.endpoint):
            return await self.images.Delete(request, metadata=metadata, timeout=_CALL_SECONDS)

    async def update_image(
        self,
        image_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
        idempotency_key: str = "",
    ) -> Operation:
        """Change what is given of an image; the operation comes back done.

        `labels` replace all that the image had.
        """
        request = UpdateDesktopImageRequest(
            image_id=image_id, name=name or "", description=description or "", labels=labels or {}
        )
        given = {"name": name, "description": description, "labels": labels}
        request.update_mask.paths.extend(key for key, value in given.items() if value is not None)
        if not request.update_mask.paths:
            raise ValueError("Without a mask all fields would be reset: name what to change.")
        metadata = (("idempotency-key", idempotency_key or str(uuid.uuid4())),)
        with translated_errors(self.profile.endpoint):
            return await self.images.Update(request, metadata=metadata, timeout=_CALL_SECONDS)

    async def get_image(self, image_id: str) -> DesktopImage:
        request = GetDesktopImageRequest(image_id=image_id)
        with translated_errors(self.profile.endpoint):
            return await self.images.Get(request, timeout=_CALL_SECONDS)

    async def get_verified_at(self, image_id: str) -> str | None:
        """Get when all of an image was last found right, in RFC 3339; None: never so far."""
        request = GetDesktopImageRequest(image_id=image_id)
        with translated_errors(self.profile.endpoint):
            call = self.images.Get(request, timeout=_CALL_SECONDS)
            await call
            metadata = await call.trailing_metadata()
        return next((str(value) for key, value in metadata or () if key == _VERIFIED_AT_KEY), None)

    async def find_image(
        self, id_or_name: str, *, folder_id: str = "", is_system: bool = False
    ) -> DesktopImage:
        """Find an image by its id, or else by its name among the folder's and the system images.

        The folder's own comes first; with `is_system` it is not meant.

        Raises:
            NotFoundError: there is neither.
        """
        folder_id = folder_id or self.profile.folder_id
        try:
            return await self.get_image(id_or_name)
        except CallError as error:
            if error.code not in {Code.NOT_FOUND, Code.INVALID_ARGUMENT}:
                raise  # a name may be no valid id
        if folder_id:
            named = _filter_by_name(id_or_name[:_MOST_NAME])
            found = [
                image
                async for image in self.iter_images(folder_id=folder_id, condition=named)
                if image.name == id_or_name and not (is_system and image.folder_id)
            ]
            if found:
                return max(found, key=lambda image: bool(image.folder_id))
        place = f"in the folder {folder_id}" if folder_id else "anywhere"
        raise NotFoundError(
            f"No desktop image {place} has the id or the name {id_or_name!r}.",
            remedy="`clouddesktop image list` shows the folder's images.",
        )

    async def iter_images(
        self,
        *,
        folder_id: str = "",
        condition: str = "",
        order_by: str = "",
        page_size: int = _PAGE_SIZE,
    ) -> AsyncIterator[DesktopImage]:
        """Walk over the images of a folder, page by page.

        `condition` narrows them down in the API's language of filters, such as `name="golden"`;
        `order_by` sorts them, such as `created_at desc`.
        """
        request = ListDesktopImagesRequest(
            folder_id=folder_id or self.profile.folder_id,
            page_size=page_size,
            filter=condition,
            order_by=order_by,
        )
        while True:
            with translated_errors(self.profile.endpoint):
                page = await self.images.List(request, timeout=_CALL_SECONDS)
            for image in page.desktop_images:
                yield image
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def get_operation(self, operation_id: str) -> operations.OperationView:
        """Get an operation, and how far it is if the server says so."""
        request = GetOperationRequest(operation_id=operation_id)
        with translated_errors(self.profile.endpoint):
            call = self.operations.Get(request, timeout=_CALL_SECONDS)
            operation = await call
            metadata = await call.trailing_metadata()
        return operations.OperationView(
            operation=operation, progress=operations.find_progress(metadata)
        )

    async def call(self, method: Callable[..., Any], request: Any, *, key: str = "") -> Any:
        """Call a method of any stub that was made on `channel`.

        `key` is the idempotency key, a UUID; drawn when empty.

        Raises:
            CallError: the server says no, or nothing.
        """
        metadata = (("idempotency-key", key or str(uuid.uuid4())),)
        with translated_errors(self.profile.endpoint):
            return await method(request, metadata=metadata, timeout=_CALL_SECONDS)

    async def cancel_operation(self, operation_id: str) -> Operation:
        """Cancel an operation: it rolls back, then is done with the error CANCELLED.

        One that has ended, or is rolling back for another error, comes back as it is.
        """
        request = CancelOperationRequest(operation_id=operation_id)
        with translated_errors(self.profile.endpoint):
            return await self.operations.Cancel(request, timeout=_CALL_SECONDS)

    async def wait_operation(
        self,
        operation_id: str,
        *,
        on_progress: Callable[[operations.OperationView], None] | None = None,
        on_outage: Callable[[CallError], None] | None = None,
        timeout_seconds: float = operations.WAIT_SECONDS,
        poll_seconds: float = operations.POLL_SECONDS,
    ) -> Operation:
        """Wait until the operation is done, and return it; it may have failed.

        Once the operation has been seen, a server that is out of reach does not end the wait:
        `on_outage` hears of it, and the wait goes on until `timeout_seconds` have passed.
        Cancelling the wait leaves the operation running.

        Raises:
            WaitTimeoutError: it was not done in time; it goes on at the server.
            CallError: the operation is unknown, or the server was out of reach from the start.
        """
        return await operations.wait_until_done(
            lambda: self.get_operation(operation_id),
            operation_id=operation_id,
            on_progress=on_progress or (lambda _: None),
            on_outage=on_outage or (lambda _: None),
            timeout_seconds=timeout_seconds,
            poll_seconds=poll_seconds,
        )


def _filter_by_name(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'name="{escaped}"'
