"""Exports: the file is whole and exact, or not there."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clouddesktop.client import (
    CloudDesktopError,
    Code,
    Connection,
    ExportError,
    OutputFormat,
    connect,
    export_image,
)
from clouddesktop.client import export as export_module
from clouddesktop.client import http as http_module
from clouddesktop.errors import DataLossError
from unit.client.scripted_api import IMAGE_ID, ScriptedApi

_CELL = 4096


def lay_out(api: ScriptedApi, cells: list[bytes]) -> None:
    """Make the disk of these cells; empty ones are holes, and neighbours of data one extent."""
    api.disk = b"".join(cell or bytes(_CELL) for cell in cells)
    api.extents = []
    for number, cell in enumerate(cells):
        start = number * _CELL
        if not cell:
            continue
        if api.extents and sum(api.extents[-1]) == start:
            api.extents[-1] = (api.extents[-1][0], api.extents[-1][1] + len(cell))
        else:
            api.extents.append((start, len(cell)))


def some_cells() -> list[bytes]:
    """Data, a hole, data."""
    return [b"a" * _CELL, b"", b"", b"b" * _CELL, b"c" * _CELL]


def names_in(folder: Path) -> list[str]:
    """Give what lies in the folder of an output and belongs to it."""
    return sorted(each.name for each in folder.iterdir() if "disk" in each.name)


def compare(raw: Path, output: Path, output_format: OutputFormat) -> None:
    """Let qemu-img compare the guest-visible bytes; it fails on a difference."""
    name = "vpc" if output_format is OutputFormat.VHD else output_format.value
    command = ["qemu-img", "compare", "-f", "raw", "-F", name, str(raw), str(output)]
    subprocess.run(command, check=True, capture_output=True)


async def run_export(api: ScriptedApi, output: Path, **options: object) -> None:
    """Export the scripted image."""
    async with connect(api.profile) as connection:
        await export_image(connection, IMAGE_ID, output, **options)  # type: ignore[arg-type]  # a test's options


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    cells=st.lists(st.sampled_from([b"", b"x" * _CELL, b"yz" * (_CELL // 2)]), max_size=12),
    most=st.sampled_from([1, 2, 3, 100]),
    answered=st.sampled_from([1, 2, 100]),
    tail=st.integers(0, _CELL - 1),
)
def test_any_layout_arrives_exactly(
    api: ScriptedApi,
    tmp_path_factory: pytest.TempPathFactory,
    *,
    cells: list[bytes],
    most: int,
    answered: int,
    tail: int,
) -> None:
    """Whatever the extents and the pieces are, and wherever the disk ends, the file is the disk."""
    lay_out(api, [*cells, b"t" * tail])
    output = tmp_path_factory.mktemp("export") / "disk.raw"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "MOST_FRAMES", most)
        api.frames_at_once = answered
        asyncio.run(run_export(api, output))
    assert output.read_bytes() == api.disk
    assert names_in(output.parent) == ["disk.raw"]


async def test_holes_stay_holes(api: ScriptedApi, tmp_path: Path) -> None:
    """A large disk with little data takes little room, and progress counts the data."""
    lay_out(api, [b"a" * _CELL, *[b""] * 2000])
    seen: list[tuple[int, int]] = []
    await run_export(
        api, tmp_path / "disk.raw", on_progress=lambda done, total: seen.append((done, total))
    )
    status = (tmp_path / "disk.raw").stat()
    assert status.st_size == 2001 * _CELL
    assert status.st_blocks * 512 < 64 * 1024
    assert seen == [(0, _CELL), (_CELL, _CELL)]


@pytest.mark.parametrize("failures", [[503], ["break"], [503, "break"], [401]])
async def test_passing_trouble_is_repeated(
    api: ScriptedApi, tmp_path: Path, failures: list[int | str]
) -> None:
    """A break in the middle of a piece, a busy server or an old token costs a repetition only."""
    lay_out(api, some_cells())
    api.http_failures = failures
    await run_export(api, tmp_path / "disk.raw")
    assert (tmp_path / "disk.raw").read_bytes() == api.disk


@pytest.mark.parametrize("failures", [[404], [401, 401]])
async def test_a_refusal_leaves_nothing_behind(
    api: ScriptedApi, tmp_path: Path, failures: list[int | str]
) -> None:
    """Neither the output nor the partial file is there, and an older output is untouched."""
    lay_out(api, some_cells())
    api.http_failures = failures
    (tmp_path / "disk.raw").write_text("older")
    with pytest.raises(CloudDesktopError):
        await run_export(api, tmp_path / "disk.raw", overwrite=True)
    assert (tmp_path / "disk.raw").read_text() == "older"
    assert names_in(tmp_path) == ["disk.raw"]


async def test_trouble_that_stays_is_told(
    api: ScriptedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some attempts the server's own words come through."""
    monkeypatch.setattr(http_module, "_PAUSES_SECONDS", (0.0, 0.0))
    api.http_failures = [503] * 3
    with pytest.raises(CloudDesktopError, match="Scripted") as caught:
        await run_export(api, tmp_path / "disk.raw")
    assert caught.value.code is Code.UNAVAILABLE


def flip_last(frame: bytes) -> bytes:
    """Damage the stored bytes."""
    return frame[:-1] + bytes([frame[-1] ^ 1])


@pytest.mark.parametrize("number", [0, 3])
async def test_a_chunk_that_came_damaged_is_asked_for_again(
    api: ScriptedApi, tmp_path: Path, number: int
) -> None:
    """Plain or compressed: by the way on which the server verifies, and it is right this time."""
    lay_out(api, some_cells())
    api.spoilt[number] = flip_last
    await run_export(api, tmp_path / "disk.raw")
    assert (tmp_path / "disk.raw").read_bytes() == api.disk
    assert api.paths == ["extents", "chunks", "disk"]


async def test_damage_that_stays_fails_the_export(
    api: ScriptedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own words say what is damaged, and no file appears."""
    lay_out(api, some_cells())
    api.spoilt[3] = flip_last
    monkeypatch.setattr(http_module, "_PAUSES_SECONDS", ())
    api.http_failures = [200, 200, 404]
    with pytest.raises(CloudDesktopError, match="Scripted"):
        await run_export(api, tmp_path / "disk.raw")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame[:-1],
        lambda frame: frame + b"x",
        lambda frame: frame[:10],
        lambda frame: frame * 2,
        lambda frame: b"\x07" + frame[1:],
    ],
    ids=["shorter", "longer", "no head", "twice", "another number"],
)
async def test_an_answer_that_is_not_what_was_asked_for_is_refused(
    api: ScriptedApi, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    """Nothing is guessed."""
    lay_out(api, some_cells())
    api.spoilt[4] = spoil
    with pytest.raises(DataLossError):
        await run_export(api, tmp_path / "disk.raw")
    assert names_in(tmp_path) == []


async def test_an_answer_without_chunks_is_refused(api: ScriptedApi, tmp_path: Path) -> None:
    """Asking again would never end."""
    lay_out(api, some_cells())
    api.frames_at_once = 0
    with pytest.raises(DataLossError):
        await run_export(api, tmp_path / "disk.raw")


async def test_a_chunk_that_is_left_out_is_missed(api: ScriptedApi, tmp_path: Path) -> None:
    """Also when others follow it."""
    lay_out(api, some_cells())
    api.spoilt[3] = lambda _frame: b""
    with pytest.raises(DataLossError):
        await run_export(api, tmp_path / "disk.raw")


@pytest.mark.parametrize("extents", [[(-4096, 10)], [(0, 1 << 40)], [(1, 10)], [(0, 10), (0, 10)]])
async def test_extents_beyond_the_disk_are_refused(
    api: ScriptedApi, tmp_path: Path, extents: list[tuple[int, int]]
) -> None:
    """A server that makes no sense writes nowhere."""
    api.disk, api.extents = b"x" * _CELL, extents
    with pytest.raises(DataLossError):
        await run_export(api, tmp_path / "disk.raw")
    assert not (tmp_path / "disk.raw").exists()


async def test_an_existing_file_is_kept_unless_told(api: ScriptedApi, tmp_path: Path) -> None:
    """An empty file, such as a prepared one, may be replaced without asking."""
    lay_out(api, some_cells())
    output = tmp_path / "disk.raw"
    output.write_text("precious")
    with pytest.raises(ExportError, match="exists already"):
        await run_export(api, output)
    assert output.read_text() == "precious"
    await run_export(api, output, overwrite=True)
    assert output.read_bytes() == api.disk
    output.write_bytes(b"")
    await run_export(api, output)
    assert output.read_bytes() == api.disk


@pytest.mark.parametrize("place", [".", "none/disk.raw", "/dev/null"])
async def test_a_place_for_no_file_is_refused(api: ScriptedApi, tmp_path: Path, place: str) -> None:
    """A folder, a missing folder and a device are told before any byte is fetched."""
    with pytest.raises(ExportError) as caught:
        await run_export(api, tmp_path / place, overwrite=True)
    assert caught.value.remedy
    assert api.metadata == []


async def test_two_exports_to_one_place_do_not_mix(api: ScriptedApi, tmp_path: Path) -> None:
    """The second one is refused, and the first one's file stays its own."""
    lay_out(api, some_cells())
    output = tmp_path / "disk.raw"

    async def meet(connection: Connection) -> None:
        with pytest.raises(ExportError, match="Another export"):
            await export_image(connection, IMAGE_ID, output)

    async with connect(api.profile) as connection, asyncio.TaskGroup() as group:
        second: list[asyncio.Task[None]] = []
        await export_image(
            connection,
            IMAGE_ID,
            output,
            on_progress=lambda _done, _total: second.append(group.create_task(meet(connection))),
        )
    assert second
    assert output.read_bytes() == api.disk


async def test_a_killed_export_is_no_obstacle(api: ScriptedApi, tmp_path: Path) -> None:
    """What it left is overwritten."""
    lay_out(api, some_cells())
    (tmp_path / "disk.raw.partial").write_bytes(b"left" * 100_000)
    await run_export(api, tmp_path / "disk.raw")
    assert (tmp_path / "disk.raw").read_bytes() == api.disk


async def test_a_cancelled_export_leaves_nothing(api: ScriptedApi, tmp_path: Path) -> None:
    """Ctrl-C in the middle removes the partial file."""
    lay_out(api, some_cells())
    has_begun = asyncio.Event()
    work = asyncio.ensure_future(
        run_export(api, tmp_path / "disk.raw", on_progress=lambda _done, _total: has_begun.set())
    )
    await has_begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert names_in(tmp_path) == []


def put_qemu_img(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Stand a program of ours where qemu-img is looked for."""
    program = folder / "bin" / "qemu-img"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


async def test_a_conversion_that_fails_leaves_nothing(
    api: ScriptedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What qemu-img says comes through, cut short."""
    lay_out(api, some_cells())
    script = 'for last; do :; done; echo half > "$last"; yes no room | head -c 9000 >&2; exit 1'
    put_qemu_img(tmp_path, monkeypatch, script)
    with pytest.raises(ExportError, match="no room") as caught:
        await run_export(api, tmp_path / "disk.vdi", output_format=OutputFormat.VDI)
    assert len(caught.value.message) < 1200
    assert names_in(tmp_path) == []


async def test_a_missing_qemu_img_is_told(
    api: ScriptedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the package that has it."""
    lay_out(api, some_cells())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError) as caught:
        await run_export(api, tmp_path / "disk.vdi", output_format=OutputFormat.VDI)
    assert "qemu-utils" in caught.value.remedy
    assert names_in(tmp_path) == []


async def test_a_conversion_is_ended_at_once_by_a_cancellation(
    api: ScriptedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is gone too, and its memory was bounded."""
    lay_out(api, some_cells())
    note = tmp_path / "note"
    # The limit is set by the other side, right after the start.
    script = (
        "while [ $(ulimit -v) = unlimited ]; do :; done;"
        f"echo $$ $(ulimit -v) > {note}.new; mv {note}.new {note}; exec sleep 1000"
    )
    put_qemu_img(tmp_path, monkeypatch, script)
    work = asyncio.ensure_future(
        run_export(api, tmp_path / "disk.vdi", output_format=OutputFormat.VDI)
    )
    async with asyncio.timeout(30):
        while not note.exists():  # noqa: ASYNC110  (a program's sign of life)
            await asyncio.sleep(0.01)
    pid, kibibytes = note.read_text().split()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert int(kibibytes) == 2 << 20
    assert not psutil.pid_exists(int(pid))
    assert names_in(tmp_path) == []


@pytest.mark.qemu
@pytest.mark.parametrize("output_format", list(OutputFormat))
async def test_every_format_holds_the_same_disk(
    api: ScriptedApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    output_format: OutputFormat,
) -> None:
    """qemu-img finds no difference to the raw disk, whatever the relative path looks like."""
    lay_out(api, [b"a" * _CELL, *[b""] * 1000, *[b"bc" * (_CELL // 2)] * 23])
    raw, output = tmp_path / "raw", tmp_path / f"disk:1,2.{output_format}"
    raw.write_bytes(api.disk)
    monkeypatch.chdir(tmp_path)
    await run_export(api, Path(output.name), output_format=output_format)
    await asyncio.to_thread(compare, raw, output, output_format)
    assert names_in(tmp_path) == [output.name]
