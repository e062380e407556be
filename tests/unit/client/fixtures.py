"""Fixtures of the scripted API, for the tests of client and cli."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from clouddesktop.client import Profile
from unit.client.scripted_api import (
    FOLDER_ID,
    ScriptedApi,
    Tls,
    make_key,
    make_tls,
    serving_grpc,
    serving_http,
)


@pytest.fixture(scope="session")
def api_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what all scripted servers share: certificates and a key."""
    folder = tmp_path_factory.mktemp("api")
    make_key(folder / "key.json")
    return folder


@pytest.fixture(scope="session")
def api_tls(api_folder: Path) -> Tls:
    """The scripted servers' certificate."""
    return make_tls(api_folder / "tls")


@pytest.fixture
def api(api_folder: Path, api_tls: Tls) -> Iterator[ScriptedApi]:
    """A scripted server that runs, and its profile."""
    profile = Profile(endpoint="", ca=api_tls.ca, key=api_folder / "key.json", folder_id=FOLDER_ID)
    scripted = ScriptedApi(profile=profile)
    with (
        serving_grpc(scripted, address="127.0.0.1:0", credentials=api_tls.grpc) as grpc_port,
        serving_http(scripted, api_tls.http) as http_port,
    ):
        scripted.profile = replace(
            profile,
            endpoint=f"127.0.0.1:{grpc_port}",
            rest=f"https://127.0.0.1:{http_port}",
        )
        yield scripted


@pytest.fixture
def profile_file(api: ScriptedApi, tmp_path: Path) -> Path:
    """The profile of the scripted server as a file."""
    path = tmp_path / "profile.yaml"
    profile = api.profile
    record = {
        "endpoint": profile.endpoint,
        "rest": profile.rest,
        "ca": str(profile.ca),
        "key": str(profile.key),
        "cloud_id": "b1ccloud",
        "folder_id": profile.folder_id,
    }
    path.write_text(yaml.safe_dump(record))
    return path
