"""What the verbs of `clouddesktop operation` do, once a server is to be talked to."""

from __future__ import annotations

from clouddesktop.cli.following import follow
from clouddesktop.cli.options import Globals
from clouddesktop.cli.render import print_operation
from clouddesktop.cli.session import run_session


def get(options: Globals, operation_id: str) -> None:
    view = run_session(options, lambda connection: connection.get_operation(operation_id))
    print_operation(view.operation, options.style, progress=view.progress)


def wait(options: Globals, operation_id: str, *, timeout_seconds: float | None) -> None:
    operation = run_session(
        options,
        lambda connection: follow(connection, operation_id, timeout_seconds=timeout_seconds),
    )
    print_operation(operation, options.style)
