"""The official synchronous SDK for a profile; imported when it is wanted, for it takes its time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clouddesktop.client.profile import Profile, ProfileError, read_profile_file

if TYPE_CHECKING:
    from clouddesktop.client.official import CloudDesktopSDK


def open_sdk(profile: Profile | Path | str, **options: Any) -> CloudDesktopSDK:
    """Make the official SDK for the server of a profile; `options` are the SDK's own.

    Raises:
        ProfileError: the profile has no key and no token, or is for a server without TLS: the SDK
            needs both.
    """
    from clouddesktop.client.official import CloudDesktopSDK  # noqa: PLC0415  (0.15 s of imports)

    if not isinstance(profile, Profile):
        profile = Profile.load(profile)
    if profile.is_plaintext:
        raise _unfit()
    login: dict[str, Any]
    if profile.token_file is not None:
        raw = read_profile_file(profile.token_file, what="token file")
        login = {"iam_token": raw.decode("ascii", "replace").strip()}
    elif profile.key is not None:
        raw = read_profile_file(profile.key, what="authorised key")
        login = {"service_account_key": json.loads(raw)}
    else:
        raise _unfit()
    return CloudDesktopSDK(
        endpoint=profile.endpoint, root_certificates=profile.read_ca(), **login, **options
    )


def _unfit() -> ProfileError:
    return ProfileError(
        "The official SDK needs a profile with a key or a token, for a server with TLS.",
        remedy="Use `connect` instead, or start the server without --plaintext.",
    )
