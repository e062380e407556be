"""The tree of errors: every subclass, wherever it is defined."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
import re
from pathlib import Path

import pytest

import clouddesktop
from clouddesktop.errors import CloudDesktopError, Code, Failure, InternalError

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"

FROM_THE_WIRE = {"CallError", "OperationFailedError", "RunFailedError"}
"""Carry what a server said: they are built from that, and their reason is the server's."""


def import_everything() -> None:
    for module in pkgutil.walk_packages(clouddesktop.__path__, "clouddesktop."):
        # Programs and migrations run when they are imported.
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)


def subclasses_of(kind: type[CloudDesktopError]) -> list[type[CloudDesktopError]]:
    found = []
    for each in kind.__subclasses__():
        found += [each, *subclasses_of(each)]
    return found


import_everything()
ERRORS = sorted(
    {
        each
        for each in subclasses_of(CloudDesktopError)
        if each.__module__.startswith("clouddesktop.") and not each.__name__.startswith("_")
    },
    key=lambda each: each.__qualname__,
)
BUILT_HERE = [each for each in ERRORS if each.__name__ not in FROM_THE_WIRE]


def documented_rows() -> dict[str, str]:
    """Read the table of the document: each reason with its code."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| ([A-Z_]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) == len(dict(rows)), "A reason is documented twice."
    return dict(rows)


def test_there_are_errors_to_look_at() -> None:
    """The families at least, and special cases beside their code."""
    assert len(ERRORS) > 20
    assert InternalError in ERRORS


def test_reasons_are_unique() -> None:
    """A reason leads to one class: that is what makes it worth anything to a caller."""
    by_reason: dict[str, str] = {}
    for each in ERRORS:
        assert re.fullmatch(r"[A-Z][A-Z0-9_]{0,62}", each.reason), each
        other = by_reason.setdefault(each.reason, each.__qualname__)
        assert other == each.__qualname__, f"{each.reason} is the reason of both"


def test_the_document_lists_every_reason_and_no_other() -> None:
    """With the code that it comes with; classes with codes from the wire may carry any."""
    rows = documented_rows()
    assert set(rows) == {each.reason for each in ERRORS}
    for each in BUILT_HERE:
        assert rows[each.reason] == each.code.name


@pytest.mark.parametrize("kind", ERRORS, ids=lambda each: each.__name__)
def test_names_and_docstrings_have_their_form(kind: type[CloudDesktopError]) -> None:
    """`…Error`, with a sentence that says when."""
    assert kind.__name__.endswith("Error")
    assert kind.__doc__ is not None
    assert kind.__doc__ != CloudDesktopError.__doc__
    assert kind.__doc__.rstrip().endswith(".")
    assert isinstance(kind.code, Code)


@pytest.mark.parametrize("kind", BUILT_HERE, ids=lambda each: each.__name__)
def test_an_error_is_kept_and_rebuilt_as_plain_values(kind: type[CloudDesktopError]) -> None:
    """Message first, the rest as keywords with defaults; through a record and a pickle."""
    kind("It went wrong.")
    error = kind("It went wrong.", remedy="Do it right.", facts={"where": "here"})
    assert str(error) == "It went wrong."
    failure = error.failure
    assert failure.code is kind.code
    assert failure.reason == kind.reason
    assert (failure.message, failure.remedy) == ("It went wrong.", "Do it right.")
    assert failure.facts == {"where": "here"}
    assert Failure.from_record(failure.to_record()) == failure
    assert Failure.of(error) == failure
    assert pickle.loads(pickle.dumps(error)).failure == failure  # noqa: S301  (made right here)


def test_what_is_not_ours_loses_its_text() -> None:
    """A foreign error is INTERNAL and no more."""
    failure = Failure.of(RuntimeError("secret"))
    assert failure.code is Code.INTERNAL
    assert "secret" not in repr(failure)
