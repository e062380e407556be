"""The official synchronous SDK, taught where Cloud Desktop is: its own table lacks the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
from yandexcloud._sdk import SDK  # where its types are; the package's own name re-exports it

from clouddesktop.client.profile import Profile, ProfileError, read_profile_file

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


def open_sdk(profile: Profile | Path | str, **options: Any) -> CloudDesktopSDK:
    """Make the official SDK for the server of a profile; `options` are the SDK's own.

    Raises:
        ProfileError: the profile has no key, or is for a server without TLS: the SDK needs both.
    """
    if not isinstance(profile, Profile):
        profile = Profile.load(profile)
    if profile.key is None or profile.is_plaintext:
        raise ProfileError(
            "The official SDK needs a profile with a key, for a server with TLS.",
            remedy="Use `connect` instead, or start the server without --plaintext.",
        )
    return CloudDesktopSDK(
        endpoint=profile.endpoint,
        root_certificates=profile.read_ca(),
        service_account_key=json.loads(read_profile_file(profile.key, what="authorised key")),
        **options,
    )
