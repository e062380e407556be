"""The verbs against a scripted server: what is printed where, and with which exit status."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
import yaml
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from clouddesktop.model.operation import Phase, Progress
from unit.cli.running import Run
from unit.client.scripted_api import (
    FOLDER_ID,
    IMAGE_ID,
    OPERATION_ID,
    ScriptedApi,
    an_image,
    an_operation,
)

_COPY = ("image", "copy", "--compute-image-id", "debian12", "--new-image-name", "Debian 12")


def test_copy_waits_and_prints_the_image(api: ScriptedApi, profile_file: Path, run: Run) -> None:
    """The image goes to standard output, what happens meanwhile to standard error."""
    api.let_copy_succeed()
    outcome = run("--profile", profile_file, *_COPY, "--labels", "a=b,c=d", "--labels", "e=")
    assert outcome.status == 0
    assert 'min_disk_size: "64424509440"' in outcome.out
    assert yaml.safe_load(outcome.out) == {
        "id": IMAGE_ID,
        "folder_id": FOLDER_ID,
        "created_at": "2026-11-24T12:30:00.123Z",
        "status": "ACTIVE",
        "name": "Debian 12",
        "storage_size": "1234",
        "min_disk_size": "64424509440",
    }
    assert "copying: 500 B of 1 kB (50%)" in outcome.err
    assert "1 kB new" in outcome.err
    assert dict(api.copies[0].labels) == {"a": "b", "c": "d", "e": ""}


def test_copy_of_known_content_says_so(api: ScriptedApi, profile_file: Path, run: Run) -> None:
    """An operation that comes back done is not waited for."""
    api.copied = an_operation(response=an_image())
    outcome = run("--profile", profile_file, *_COPY, "--format", "json")
    assert json.loads(outcome.out)["id"] == IMAGE_ID
    assert "Done at once" in outcome.err


def test_copy_async_prints_the_operation(api: ScriptedApi, profile_file: Path, run: Run) -> None:
    """Nothing is waited for, and both the metadata's type and image are there."""
    outcome = run(*_COPY, "--async", "--profile", profile_file, "--format", "yaml")
    assert outcome.status == 0
    record = yaml.safe_load(outcome.out)
    assert record["id"] == OPERATION_ID
    assert record["metadata"]["image_id"] == IMAGE_ID
    assert record["metadata"]["@type"].endswith("CopyDesktopImageMetadata")
    assert len(api.copies) == 1
    assert not api.looked.is_set()


def test_a_failed_copy_is_one_paragraph(api: ScriptedApi, profile_file: Path, run: Run) -> None:
    """What, why and what to do, on standard error; nothing on standard output."""
    api.looks = [(an_operation(error=(9, "The disk has a backing file. Flatten it.")), None)]
    outcome = run("--profile", profile_file, *_COPY)
    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err == "Error: The disk has a backing file. Flatten it.\n"


def test_a_refused_copy_fails(api: ScriptedApi, profile_file: Path, run: Run) -> None:
    """An error of the call itself reads like one of the operation."""
    api.copied = grpc.StatusCode.ALREADY_EXISTS
    outcome = run("--profile", profile_file, *_COPY)
    assert (outcome.status, outcome.err) == (1, "Error: Scripted.\n")


def test_an_unknown_compute_image_is_explained(
    api: ScriptedApi, profile_file: Path, run: Run
) -> None:
    """The API's own words are short: the command says where compute images come from."""
    api.copied = grpc.StatusCode.NOT_FOUND
    outcome = run("--profile", profile_file, *_COPY, "--new-image-name", "x")
    assert outcome.err == "Error: Scripted.\n"
    command = ("image", "copy", "--compute-image-id", "Scripted", "--new-image-name", "x")
    assert "without the extension" in run("--profile", profile_file, *command).err


def test_copy_with_a_limit_says_how_to_go_on(
    api: ScriptedApi, profile_file: Path, run: Run
) -> None:
    """The wait is over, the operation is not."""
    api.looks = [(an_operation(), None)]
    outcome = run("--profile", profile_file, *_COPY, "--timeout", "0")
    assert outcome.status == 1
    assert f"clouddesktop operation wait {OPERATION_ID}" in outcome.err


@pytest.mark.parametrize("labels", ["a", "=b", "a=b,,c=d"])
def test_broken_labels_are_wrong_usage(profile_file: Path, run: Run, labels: str) -> None:
    """Nothing is sent, and the exit status is that of wrong usage."""
    outcome = run("--profile", profile_file, *_COPY, "--labels", labels)
    assert outcome.status == 2
    assert "KEY=VALUE" in outcome.err


def test_get_takes_an_id_or_a_name(profile_file: Path, run: Run) -> None:
    """Both give the same image."""
    by_id = run("image", "get", IMAGE_ID, "--profile", profile_file)
    by_name = run("image", "get", "Debian 12", "--profile", profile_file)
    assert by_id.status == 0
    assert by_id.out == by_name.out


def test_get_of_nothing_says_what_there_is(profile_file: Path, run: Run) -> None:
    """The error names the folder, the value and the next command."""
    outcome = run("image", "get", "none", "--profile", profile_file)
    assert outcome.status == 1
    assert "'none'" in outcome.err
    assert FOLDER_ID in outcome.err
    assert "clouddesktop image list" in outcome.err
    assert outcome.err.count("\n") == 1


TABLE = r"""
+----------+-----------+----------+---------+---------+--------+--------------------------+
| ID       | NAME      | STATUS   | DISK    | STORED  | SYSTEM | CREATED                  |
+----------+-----------+----------+---------+---------+--------+--------------------------+
| e3v2     | a\x1b[2Jb | ACTIVE   | 64.4 GB | 1.23 kB |        | 2026-11-24T12:30:00.123Z |
| e3vnew   | b         | CREATING |         |         |        | 2026-11-24T12:30:00.123Z |
| e3vimage | 日本      | ACTIVE   | 64.4 GB | 1.23 kB |        | 2026-11-24T12:30:00.123Z |
+----------+-----------+----------+---------+---------+--------+--------------------------+
"""


def test_list_draws_a_table(api: ScriptedApi, profile_file: Path, run: Run) -> None:
    """As they come, with sizes once known; names steer no terminal, and wide ones stay in line."""
    status = DesktopImage.Status.CREATING
    new = an_image(id="e3vnew", name="b", status=status, min_disk_size=0, storage_size=0)
    api.images = [an_image(id="e3v2", name="a\x1b[2Jb"), new, an_image(name="日本")]
    outcome = run("image", "list", "--profile", profile_file)
    assert outcome.out == TABLE.lstrip()


@pytest.mark.parametrize(("style", "expected"), [("json", []), ("yaml", [])])
def test_an_empty_list_is_an_empty_list(
    api: ScriptedApi, profile_file: Path, run: Run, style: str, expected: list[object]
) -> None:
    """Scripts get a list, not nothing."""
    api.images = []
    outcome = run("--format", style, "image", "list", "--profile", profile_file)
    assert yaml.safe_load(outcome.out) == expected


def test_list_stops_at_its_limit(api: ScriptedApi, profile_file: Path, run: Run) -> None:
    """Pages behind the limit are not asked for."""
    api.images = [an_image(id=f"e3v{number}") for number in range(9)]
    outcome = run("image", "list", "--limit", "3", "--profile", profile_file, "--format", "json")
    assert [each["id"] for each in json.loads(outcome.out)] == ["e3v0", "e3v1", "e3v2"]
    assert len(api.metadata) == 2


def test_list_asks_the_server_to_choose_and_to_sort(
    api: ScriptedApi, profile_file: Path, run: Run
) -> None:
    """By name if not told otherwise; every page is asked for alike."""
    api.images = [an_image(id=f"e3v{number}") for number in range(3)]
    run("image", "list", "--profile", profile_file)
    assert [each.order_by for each in api.lists] == ["name", "name"]
    api.lists.clear()
    options = ("--filter", "name!=a", "--order-by", "created_at desc", "--page-size", "2")
    run("image", "list", *options, "--profile", profile_file)
    assert len(api.lists) == 2
    for each in api.lists:
        assert (each.filter, each.order_by) == ("name!=a", "created_at desc")
        assert each.page_size == 2


def test_operation_get_shows_people_the_progress(
    api: ScriptedApi, profile_file: Path, run: Run
) -> None:
    """Text has the progress, YAML and JSON are the API's message alone."""
    api.looks = [(an_operation(), Progress(phase=Phase.COPYING, bytes_total=9, bytes_done=4))]
    text = yaml.safe_load(run("operation", "get", OPERATION_ID, "--profile", profile_file).out)
    plain = yaml.safe_load(
        run("operation", "get", OPERATION_ID, "--profile", profile_file, "--format", "yaml").out
    )
    assert text.pop("progress")["phase"] == "copying"
    assert text == plain


def test_operation_table_has_a_status(api: ScriptedApi, profile_file: Path, run: Run) -> None:
    """RUNNING, DONE or FAILED stand where the message has done, response and error."""
    api.looks = [
        (an_operation(), None),
        (an_operation(response=an_image()), None),
        (an_operation(error=(9, "No.")), None),
    ]
    command = ("operation", "get", OPERATION_ID, "--profile", profile_file, "--format", "table")
    assert [run(*command).out.count(word) for word in ("RUNNING", "DONE", "FAILED")] == [1] * 3


def test_operation_wait_prints_the_operation(
    api: ScriptedApi, profile_file: Path, run: Run
) -> None:
    """The response is unpacked; a failed operation would be an error."""
    api.let_copy_succeed()
    outcome = run("operation", "wait", OPERATION_ID, "--profile", profile_file)
    record = yaml.safe_load(outcome.out)
    assert record["done"] is True
    assert record["response"]["id"] == IMAGE_ID


def test_export_writes_and_says_where(
    api: ScriptedApi, profile_file: Path, run: Run, tmp_path: Path
) -> None:
    """By name, into a relative path; --force replaces what is there."""
    api.disk, api.extents = b"x" * 8192, [(0, 4096)]
    api.disk = b"x" * 4096 + bytes(4096)
    command = ("image", "export", "Debian 12", "--output", "disk.raw", "--profile", profile_file)
    outcome = run(*command)
    assert outcome.status == 0
    assert (tmp_path / "disk.raw").read_bytes() == api.disk
    assert yaml.safe_load(outcome.out) == {
        "image_id": IMAGE_ID,
        "output": "disk.raw",
        "output_format": "raw",
        "disk_size": "8192",
    }
    again = run(*command)
    assert again.status == 1
    assert "--force" in again.err
    assert run(*command, "--force").status == 0


@pytest.mark.parametrize(
    ("name", "output_format", "words"),
    [
        ("disk.img", "raw", ""),
        ("disk", "raw", "tells no format: it will be raw"),
        ("disk.iso", "raw", "tells no format: it will be raw"),
        ("disk.QCOW2", "qcow2", "will be qcow2, as its name says"),
        ("a.raw.vhd", "vhd", "will be vhd, as its name says"),
    ],
)
def test_the_output_s_name_tells_its_format(
    api: ScriptedApi,
    profile_file: Path,
    run: Run,
    *,
    name: str,
    output_format: str,
    words: str,
) -> None:
    """What was taken is said; --output-format has the last word."""
    api.disk, api.extents = b"x" * 4096, [(0, 4096)]
    command = ("image", "export", IMAGE_ID, "--output", name, "--profile", profile_file)
    outcome = run(*command)
    assert outcome.status == 0, outcome.err
    assert yaml.safe_load(outcome.out)["output_format"] == output_format
    assert words in outcome.err
    forced = run(*command, "--output-format", "raw", "--force")
    assert yaml.safe_load(forced.out)["output_format"] == "raw"
    assert "format" not in forced.err


def test_the_profile_comes_from_four_places(
    profile_file: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the verb, before it, the variable, the usual folder: the first of these counts."""
    nothing = run("image", "list")
    assert nothing.status == 1
    assert "CLOUDDESKTOP_PROFILE" in nothing.err

    folder = profile_file.parent / "clouddesktop-data"
    folder.mkdir()
    (folder / "profile.yaml").write_text(profile_file.read_text())
    assert run("image", "list").status == 0

    monkeypatch.setenv("CLOUDDESKTOP_PROFILE", "/none/variable")
    assert "/none/variable" in run("image", "list").err
    assert "/none/before" in run("--profile", "/none/before", "image", "list").err
    both = ("--profile", "/none/before", "image", "list", "--profile", profile_file)
    assert run(*both).status == 0


def test_folder_and_endpoint_win_over_the_profile(
    api: ScriptedApi, profile_file: Path, run: Run
) -> None:
    """Options name another folder or server for one call."""
    api.images = [an_image(folder_id="b1gother")]
    other = run("--folder-id", "b1gother", "image", "list", "--profile", profile_file)
    assert IMAGE_ID in other.out
    outcome = run("image", "list", "--profile", profile_file, "--endpoint", "127.0.0.1:1")
    assert outcome.status == 1
    assert "127.0.0.1:1 cannot be reached" in outcome.err


@pytest.mark.parametrize(
    "arguments", [("image", "burn"), ("image", "get"), ("--format", "xml", "image", "list")]
)
def test_wrong_usage_is_status_2(run: Run, arguments: tuple[str, ...]) -> None:
    """The error says what is wrong, and nothing goes to standard output."""
    outcome = run(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err


def test_version(run: Run) -> None:
    """One line, for scripts and bug reports."""
    assert run("--version").out == "clouddesktop 0.1.0\n"
