"""Asks pytest which tests it runs of those that prove rules, and for which methods.

A program, to be run as `python -P collecting.py OUTPUT FILE...`: collecting imports every test
file, which is better done in a process of its own.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest

_SKIPS = ("pytest.skip(", "pytest.xfail(", "importorskip(")


class Collector:
    """Notes each collected test that has a `proves` mark, as plain values.

    `method` is that of the parameter `path`, where a test is made for each method.
    """

    def __init__(self) -> None:
        self.tests: list[dict[str, Any]] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        root = Path(__file__).parents[1]
        for item in session.items:
            marks = [
                {"rules": list(mark.args), "of": list(mark.kwargs.get("of", ()))}
                for mark in item.iter_markers("proves")
            ]
            if marks and isinstance(item, pytest.Function):
                self.tests.append(
                    {
                        "path": item.path.relative_to(root).as_posix(),
                        "test": item.originalname,
                        "marks": marks,
                        "may_skip": _may_skip(item),
                        "method": _method_of(item),
                    }
                )


def _may_skip(item: pytest.Function) -> bool:
    marks = {mark.name for mark in item.iter_markers()}
    source = inspect.getsource(item.function)
    return bool(marks & {"skip", "skipif", "xfail"}) or any(each in source for each in _SKIPS)


def _method_of(item: pytest.Function) -> str:
    callspec = getattr(item, "callspec", None)
    path = "" if callspec is None else callspec.params.get("path", "")
    is_method = isinstance(path, str) and path.startswith("/yandex.cloud.")
    return path.rpartition(".")[2] if is_method else ""


def main(output: str, *files: str) -> int:
    """Collect, and write what was found as JSON."""
    collector = Collector()
    status = pytest.main(["--collect-only", "-qq", *files], plugins=[collector])
    Path(output).write_text(json.dumps(collector.tests))
    return int(status)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
