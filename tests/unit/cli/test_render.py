"""Results and words for a terminal: exact, and harmless whatever a name holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.cli.progress import LineReporter
from clouddesktop.cli.render import to_json, to_table, to_yaml
from clouddesktop.cli.texts import format_seconds, format_size, to_paragraph, to_printable
from clouddesktop.errors import FieldViolation, InternalError, InvalidArgumentError, NotFoundError

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | _TEXTS | st.sampled_from(["12", "yes", "null", "2026-11-24", "1e3", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(value=_VALUES)
def test_yaml_reads_back_as_it_was(value: object) -> None:
    """Texts stay texts, also those that look like numbers, dates or nothing."""
    assert yaml.safe_load(to_yaml(value)) == value


@given(value=_VALUES)
def test_json_reads_back_and_steers_no_terminal(value: object) -> None:
    """Letters of every language stay; what is not printable comes as an escape."""
    text = to_json(value)
    assert json.loads(text) == value
    assert all(each == "\n" or each.isprintable() for each in text)


@given(text=st.text())
def test_nothing_steers_the_terminal(text: str) -> None:
    """Control characters, in names from elsewhere, are shown and not sent."""
    assert to_printable(text).isprintable()


@given(names=st.lists(st.text(max_size=20), max_size=4))
def test_a_table_has_a_line_for_each_record(names: list[str]) -> None:
    """Line breaks in a name break no row."""
    table = to_table([{"name": each} for each in names], {"NAME": "name"})
    assert len(table.splitlines()) == 3 + len(names) + bool(names)


def test_an_error_is_one_paragraph() -> None:
    """Violations follow the head, the remedy ends it, and full stops are where they belong."""
    violations = [
        FieldViolation(field="name", description="Field is required"),
        FieldViolation(field="labels", description="too many"),
    ]
    error = InvalidArgumentError.of_fields(violations)
    assert to_paragraph(error) == (
        "Error: Validation error: name: Field is required; labels: too many."
    )
    missing = NotFoundError("Image e3v not found", remedy="List the images.")
    assert to_paragraph(missing) == "Error: Image e3v not found. List the images."


def test_a_remedy_is_not_said_twice() -> None:
    """The server appends it to the message by itself."""
    error = NotFoundError("It is gone. List the images.", remedy="List the images.")
    assert to_paragraph(error).count("List the images.") == 1


def test_a_fault_of_the_server_names_its_request() -> None:
    """The log is searched by the request's id."""
    error = InternalError()
    error.request_id = "r-17"  # type: ignore[attr-defined]  # what CallError has
    assert to_paragraph(error).endswith("The request's id in the server's log: r-17.")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_234_567, "1.23 MB"), (64 << 30, "68.7 GB")],
)
def test_sizes_have_three_figures(size: int, text: str) -> None:
    """Decimal units, as disks and networks are sold."""
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "0.012 s"), (47.2, "47 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_times_are_said_as_people_do(seconds: float, text: str) -> None:
    """No more figures than anybody reads."""
    assert format_seconds(seconds) == text


def test_lines_come_at_new_phases_and_every_few_seconds() -> None:
    """A log file gets few lines, with rate and time left once they are known."""
    lines: list[str] = []
    now = 100.0
    reporter = LineReporter(write=lines.append, clock=lambda: now)
    reporter.report("looking", 0, 0)
    for second in range(11):
        now = 100.0 + second
        reporter.report("copying", second * 1_000_000, 20_000_000)
    reporter.report("sealing", 20_000_000, 20_000_000)
    assert lines == [
        "looking",
        "copying: 0 B of 20 MB (0%)",
        "copying: 5 MB of 20 MB (25%), 1 MB/s, about 15 s left",
        "copying: 10 MB of 20 MB (50%), 1 MB/s, about 10 s left",
        "sealing: 20 MB of 20 MB (100%), 2 MB/s",
    ]
