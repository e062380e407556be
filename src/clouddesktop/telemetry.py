"""Logging: one event a line on standard error, JSON, or plain text on a terminal.

What is bound to the context (`request_id`, `operation_id`) is on every line, also from threads.
Tokens and keys are struck out, whatever they are called and wherever they stand.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

_STRUCK_OUT = "***"
_SECRET_NAMES = frozenset(
    {
        "authorization",
        "token",
        "iam_token",
        "jwt",
        "private_key",
        "signing_key",
        "password",
        "secret",
    }
)
_SECRETS = re.compile(
    r"t1\.[\w=-]+\.[\w=-]{16,}"  # IAM tokens
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]+"  # JWTs
    r"|gAAAA[\w-]{32,}={0,2}"  # OpenStack's tokens
    r"|-----BEGIN[A-Z ]*PRIVATE KEY-----[^-]*(?:-----END[A-Z ]*PRIVATE KEY-----)?"
)
_SIGNS_OF_SECRETS = ("t1.", "eyJ", "gAAAA", "-----B")
"""One of them is in every match of `_SECRETS`, and is found faster."""

_CHATTY_LIBRARIES = ("alembic", "dbos", "httpcore", "httpx", "sqlalchemy", "uvicorn")


def configure_logging(level: str) -> None:
    """Send the log to standard error from `level` (`debug`, `info`, `warning`, `error`) on.

    Lines of libraries that use the standard `logging` take the same form. Call it again to change
    the level, or after standard error was replaced.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    is_terminal = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    last: list[Processor] = [
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        strike_out_secrets,
        structlog.dev.ConsoleRenderer(
            pad_event_to=0,
            timestamp_key="at",
            exception_formatter=structlog.dev.plain_traceback,
        )
        if is_terminal
        else structlog.processors.JSONRenderer(default=str),
    ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # loggers live in modules; a later call must reach them
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=number, force=True)
    for name in _CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def strike_out_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace what looks like a token or a private key, and all values with a secret's name."""
    for name, value in event.items():
        if name in _SECRET_NAMES:
            event[name] = _STRUCK_OUT
        elif isinstance(value, str) and any(each in value for each in _SIGNS_OF_SECRETS):
            event[name] = _SECRETS.sub(_STRUCK_OUT, value)
    return event
