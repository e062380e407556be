"""Logging: where it goes, in which form, and what it never shows."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import structlog

from clouddesktop.errors import UnavailableError
from clouddesktop.telemetry import configure_logging
from clouddesktop.trouble import Trouble
from unit.api.serving import make_tokens
from unit.iam.signing import sign


class Terminal(io.StringIO):
    """Standard error that may be a terminal."""

    is_terminal = False

    def isatty(self) -> bool:
        return self.is_terminal

    def configure(self, level: str) -> None:
        with contextlib.redirect_stderr(self):
            configure_logging(level)


def fail(text: str) -> NoReturn:
    raise RuntimeError(text)


@pytest.fixture
def stderr() -> Iterator[Terminal]:
    """What is written to standard error; logging is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Terminal()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(stderr: Terminal) -> list[Any]:
    return [json.loads(line) for line in stderr.getvalue().splitlines()]


def test_an_event_is_one_line_of_json(stderr: Terminal) -> None:
    """With level and time, and what is bound to the context."""
    stderr.configure("info")
    log = structlog.get_logger("x")
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        log.info("copied", size=3, name="Ubuntu\nü")
    log.debug("not shown")
    (line,) = lines_of(stderr)
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "copied",
        "level": "info",
        "size": 3,
        "name": "Ubuntu\nü",
        "request_id": "r1",
    }


async def test_the_context_goes_along_into_threads(stderr: Terminal) -> None:
    """A worker thread's lines carry the request's id."""
    stderr.configure("info")
    structlog.contextvars.bind_contextvars(request_id="r1")
    await asyncio.to_thread(structlog.get_logger().info, "in a thread")
    assert lines_of(stderr)[0]["request_id"] == "r1"


def test_libraries_write_the_same_lines(stderr: Terminal) -> None:
    """The standard logging too; chatty libraries from warnings on."""
    stderr.configure("info")
    logging.getLogger("some.library").info("read %s", "x")
    logging.getLogger("uvicorn.error").info("not shown")
    logging.getLogger("uvicorn.error").warning("shown")
    first, second = lines_of(stderr)
    assert (first["event"], first["logger"], first["level"]) == ("read x", "some.library", "info")
    assert second["event"] == "shown"


def test_a_terminal_gets_text(stderr: Terminal) -> None:
    """For people."""
    stderr.is_terminal = True
    stderr.configure("debug")
    structlog.get_logger().debug("copied", size=3)
    try:
        fail("broken")
    except RuntimeError:
        structlog.get_logger().exception("failed")
    text = stderr.getvalue()
    assert "copied" in text
    assert "RuntimeError" in text
    assert "{" not in text.splitlines()[0]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_secrets_are_struck_out(stderr: Terminal, *, is_terminal: bool) -> None:
    """By their names and by their looks: in values, texts and tracebacks."""
    stderr.is_terminal = is_terminal
    stderr.configure("info")
    jwt = sign()
    token = make_tokens().exchange_jwt(jwt).token
    log = structlog.get_logger()
    text = f"got {token}"
    log.info(text, header=f"Bearer {token}", body=f"jwt={jwt}")
    fernet = f"gAAAAABr{'x-Y_9' * 30}=="
    log.info("of OpenStack", header=f"x-auth-token: {fernet}")
    named: dict[str, str] = dict.fromkeys(("token", "private_key", "jwt"), "abc123")
    log.info("named", **named)
    try:
        fail(f"bad {token}")
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("library").exception("failed with %s", jwt)
    text = stderr.getvalue()
    for secret in (token, jwt, fernet, "x-Y_9", "abc123"):
        assert secret not in text
    assert text.count("***") >= 6


def test_it_may_be_configured_again(stderr: Terminal) -> None:
    """Lines come once, and the new level counts, also for loggers made before."""
    log = structlog.get_logger()
    stderr.configure("info")
    log.info("one")
    stderr.configure("warning")
    log.info("two")
    log.warning("three")
    assert [each["event"] for each in lines_of(stderr)] == ["one", "three"]


def test_a_trouble_that_lasts_is_told_once(stderr: Terminal) -> None:
    """When it begins, and when it is over; another kind of trouble is news."""
    stderr.configure("info")
    trouble = Trouble("upkeep")

    def away() -> None:
        raise UnavailableError("It is away.")

    for _ in range(3):
        assert not trouble.attempt(away)
        assert not trouble.attempt(lambda: fail("odd\nand long"))
    assert trouble.attempt(lambda: None)
    assert trouble.attempt(lambda: None)
    assert not trouble.attempt(away)
    begun, odd, over, again = lines_of(stderr)
    assert begun["event"] == again["event"] == "upkeep fails, and is tried again and again"
    assert (begun["why"], odd["why"]) == ("It is away.", "odd")
    assert "exception" not in begun  # a known trouble: no traceback
    assert "RuntimeError" in odd["exception"]
    assert over["event"] == "upkeep works again"
