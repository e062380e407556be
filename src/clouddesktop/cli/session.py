"""One conversation with a server: the profile that counts, and the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from clouddesktop.cli.options import Globals
from clouddesktop.client import Connection, Profile, ProfileError, connect

DEFAULT_PROFILE = Path("clouddesktop-data/profile.yaml")
"""What `clouddesktop serve` without options writes, seen from the same folder."""

_Result = TypeVar("_Result")


def run_session(options: Globals, work: Callable[[Connection], Awaitable[_Result]]) -> _Result:
    """Run `work` on a connection to the server that the options name."""
    profile = load_profile(options)

    async def converse() -> _Result:
        async with connect(profile) as connection:
            return await work(connection)

    return asyncio.run(converse())


def load_profile(options: Globals) -> Profile:
    """Load the profile, and let the options for endpoint, folder and token win over it."""
    path = options.profile
    if path is None:
        if not DEFAULT_PROFILE.is_file():
            raise ProfileError(
                "No profile is given, and here is no clouddesktop-data/profile.yaml.",
                remedy="Pass --profile FILE or set CLOUDDESKTOP_PROFILE: `clouddesktop serve` "
                "writes a profile.yaml into its data folder.",
            )
        path = DEFAULT_PROFILE
    profile = Profile.load(path)
    return replace(
        profile,
        endpoint=options.endpoint or profile.endpoint,
        folder_id=options.folder_id or profile.folder_id,
        token_file=options.token_file or profile.token_file,
    )
