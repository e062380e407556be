"""The files of the audit log: whole lines, bounded, whatever happens to the process or the disk."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from clouddesktop.audit import AuditLog

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def open_log(folder: Path, *, most_bytes: int = 1 << 20, most_files: int = 100) -> AuditLog:
    moments = (NOW + timedelta(seconds=number) for number in range(10**6))
    return AuditLog(
        folder, most_bytes=most_bytes, most_files=most_files, clock=lambda: next(moments)
    )


def test_events_are_lines_that_only_the_owner_reads(tmp_path: Path) -> None:
    """Also when a value has line breaks, or bytes that are no text."""
    log = open_log(tmp_path / "audit")
    events = [{"name": "a\nb"}, {"name": "ü"}, {"name": "\ud800"}]
    for each in events:
        log.write(each)
    log.close()
    file = tmp_path / "audit/audit.jsonl"
    assert lines(file)[:2] == events[:2]
    assert len(lines(file)) == 3
    assert file.stat().st_mode & 0o777 == 0o600


def test_files_are_bounded_in_size_and_number(tmp_path: Path) -> None:
    """The oldest go; no line is cut, and none of what is left is missing."""
    log = open_log(tmp_path, most_bytes=1000, most_files=3)
    for number in range(200):
        log.write({"number": number, "text": "x" * 50})
    log.close()
    full = sorted(tmp_path.glob("audit-*.jsonl"))
    assert len(full) == 3
    files = [*full, tmp_path / "audit.jsonl"]
    assert all(each.stat().st_size <= 1000 for each in files)
    numbers = [event["number"] for each in files for event in lines(each)]
    assert numbers == list(range(numbers[0], 200))


def test_what_a_dead_process_has_begun_is_a_line_of_its_own(tmp_path: Path) -> None:
    """The next event is not lost with it."""
    (tmp_path / "audit.jsonl").write_text('{"number":1}\n{"num')
    log = open_log(tmp_path)
    log.write({"number": 2})
    log.close()
    assert (tmp_path / "audit.jsonl").read_text() == '{"number":1}\n{"num\n{"number":2}\n'


def test_a_long_event_loses_its_parameters(tmp_path: Path) -> None:
    """And nothing else."""
    log = open_log(tmp_path)
    log.write({"event_id": "1", "request_parameters": {"labels": "x" * 100_000}})
    log.close()
    (event,) = lines(tmp_path / "audit.jsonl")
    assert event == {
        "event_id": "1", "request_parameters": {}, "response": {}, "shortened": True,
    }  # fmt: skip


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    """Across new files too."""
    log = open_log(tmp_path, most_bytes=5000)

    def write(writer: int) -> None:
        for number in range(100):
            log.write({"writer": writer, "number": number})

    threads = [threading.Thread(target=write, args=(each,)) for each in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    log.close()
    found = [
        (event["writer"], event["number"])
        for each in sorted(tmp_path.glob("audit*.jsonl"))
        for event in lines(each)
    ]
    assert sorted(found) == [(writer, number) for writer in range(4) for number in range(100)]


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    """The event is in the server's log instead."""
    (tmp_path / "audit").write_text("a file is in the way")
    log = open_log(tmp_path / "audit")
    with structlog.testing.capture_logs() as captured:
        log.write({"event_id": "1"})
    (line,) = captured
    assert line["event"] == "audit event not written"
    assert json.loads(line["audit_event"]) == {"event_id": "1"}


@pytest.mark.parametrize("count", [1, 2])
def test_the_file_goes_on_after_a_restart(tmp_path: Path, count: int) -> None:
    """Its size counts what was there."""
    for number in range(count):
        log = open_log(tmp_path, most_bytes=1 << 16)
        log.write({"number": number})
        log.close()
    assert [each["number"] for each in lines(tmp_path / "audit.jsonl")] == list(range(count))
