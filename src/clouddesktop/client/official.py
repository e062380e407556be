"""The official synchronous SDK, taught where Cloud Desktop is: its own table lacks the service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from yandexcloud._sdk import SDK  # where its types are; the package's own name re-exports it

_MODULE = "yandex.cloud.clouddesktop."
_SERVICE_ID = "clouddesktops"

_Stub = TypeVar("_Stub")


class CloudDesktopSDK(SDK):
    """`yandexcloud.SDK` whose `client` takes `DesktopImageServiceStub` and its neighbours too."""

    def client(
        self,
        stub_ctor: Callable[[Any], _Stub],
        interceptor: Any = None,
        endpoint: str | None = None,
        insecure: bool = False,  # noqa: FBT002  (the official signature)
    ) -> _Stub:
        if not stub_ctor.__module__.startswith(_MODULE):
            return super().client(stub_ctor, interceptor, endpoint, insecure)
        channel = self._channels.channel(_SERVICE_ID, endpoint, insecure)
        interceptor = interceptor or self._default_interceptor
        if interceptor is not None:
            channel = grpc.intercept_channel(channel, interceptor)
        return stub_ctor(channel)
