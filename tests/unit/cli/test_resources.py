"""What the verbs of every kind of resource share, against a service of folders that is scripted."""

# ruff: noqa: ARG002, N802  (the generated servicer's signatures and names)

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.resourcemanager.v1.folder_pb2 import Folder
from yandex.cloud.resourcemanager.v1.folder_service_pb2 import (
    DeleteFolderRequest,
    GetFolderRequest,
    ListFoldersRequest,
    ListFoldersResponse,
    UpdateFolderRequest,
)
from yandex.cloud.resourcemanager.v1.folder_service_pb2_grpc import (
    FolderServiceServicer,
    add_FolderServiceServicer_to_server,
)

from unit.cli.running import Run

_FOLDER = ("resource-manager", "folder")


@dataclass
class Folders(FolderServiceServicer):
    """Folders in pages of two, what was asked for, and the operation that each change comes to."""

    profile: Path
    folders: list[Folder] = field(default_factory=list)
    changed: Operation = field(default_factory=Operation)
    requests: list[Any] = field(default_factory=list)

    def Get(self, request: GetFolderRequest, context: Any) -> Folder:
        for folder in self.folders:
            if folder.id == request.folder_id:
                return folder
        context.abort(grpc.StatusCode.NOT_FOUND, f"Folder {request.folder_id} not found")
        raise AssertionError

    def List(self, request: ListFoldersRequest, context: Any) -> ListFoldersResponse:
        self.requests.append(request)
        start = int(request.page_token or 0)
        token = str(start + 2) if start + 2 < len(self.folders) else ""
        return ListFoldersResponse(folders=self.folders[start : start + 2], next_page_token=token)

    def Update(self, request: UpdateFolderRequest, context: Any) -> Operation:
        self.requests.append(request)
        return self.changed

    def Delete(self, request: DeleteFolderRequest, context: Any) -> Operation:
        self.requests.append(request)
        return self.changed


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Folders]:
    """Three folders behind a real socket, and the profile that leads there."""
    made = [Folder(id=f"b1g{name}", name=name) for name in ("first", "second", "third")]
    scripted = Folders(profile=tmp_path / "profile.yaml", folders=made)  # type: ignore[abstract]  # enough here
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, options=(("grpc.so_reuseport", 0),))
        add_FolderServiceServicer_to_server(scripted, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        record = {
            "endpoint": f"127.0.0.1:{port}",
            "rest": "http://127.0.0.1",  # no TLS
            "cloud_id": "b1ccloud",
        }
        scripted.profile.write_text(yaml.safe_dump(record))
        try:
            yield scripted
        finally:
            server.stop(0).wait()


def test_a_list_has_every_page(folders: Folders, run: Run) -> None:
    """Each page is asked for in the place that the kind lies in."""
    outcome = run("--profile", folders.profile, "--format", "json", *_FOLDER, "list")
    assert [each["name"] for each in json.loads(outcome.out)] == ["first", "second", "third"]
    assert [each.cloud_id for each in folders.requests] == ["b1ccloud", "b1ccloud"]
    assert [each.page_token for each in folders.requests] == ["", "2"]


def test_a_name_does_for_an_id(folders: Folders, run: Run) -> None:
    """On whatever page it is; what is neither is told in the server's words about the id."""
    get = ("--profile", folders.profile, *_FOLDER, "get")
    assert run(*get, "third").out == run(*get, "b1gthird").out
    outcome = run(*get, "fourth")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == "Error: Folder fourth not found.\n"


def test_an_update_masks_what_is_given(folders: Folders, run: Run) -> None:
    """An empty text is given, too; all else stays as it is."""
    folders.changed = Operation(id="b1ooperation", done=True)
    folders.changed.response.Pack(Folder(id="b1gthird", name="third", labels={"a": "b"}))
    words = ("update", "third", "--description", "", "--labels", "a=b")
    outcome = run("--profile", folders.profile, *_FOLDER, *words)
    assert yaml.safe_load(outcome.out)["labels"] == {"a": "b"}
    request = folders.requests[-1]
    assert request.folder_id == "b1gthird"
    assert list(request.update_mask.paths) == ["description", "labels"]


@pytest.mark.parametrize("words", [("delete", "third"), ("update", "third", "--new-name", "x")])
def test_an_operation_that_failed_is_an_error(
    folders: Folders, run: Run, words: tuple[str, ...]
) -> None:
    """A change that comes back done may have come to nothing: the exit status says so."""
    folders.changed = Operation(id="b1ooperation", done=True)
    folders.changed.error.code, folders.changed.error.message = 9, "The folder is not empty."
    outcome = run("--profile", folders.profile, *_FOLDER, *words)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == "Error: The folder is not empty.\n"


def test_nothing_to_change_is_wrong_usage(folders: Folders, run: Run) -> None:
    """And nothing is sent."""
    outcome = run("--profile", folders.profile, *_FOLDER, "update", "third")
    assert outcome.status == 2
    assert "--new-name, --description or" in outcome.err
    assert folders.requests == []
