"""The verbs of `clouddesktop quota`."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from clouddesktop.cli.options import Globals
from clouddesktop.cli.verbs import with_globals

app = typer.Typer(no_args_is_help=True)

_UNLIMITED = "unlimited"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

CloudOption = Annotated[
    str | None, typer.Option("--cloud-id", help="The cloud, instead of the profile's.")
]


@app.command("list")
@with_globals
def list_quotas(options: Globals, cloud_id: CloudOption = None) -> None:
    """List the quotas of the cloud, and what is used of them."""
    from clouddesktop.cli import quota_actions  # noqa: PLC0415  (grpc)

    quota_actions.list_quotas(options, cloud_id)


@app.command("set")
@with_globals
def set_quota(
    options: Globals,
    quota_id: Annotated[
        str, typer.Argument(metavar="QUOTA", help="Such as vdi.desktopImages.count.")
    ],
    limit: Annotated[
        str, typer.Argument(metavar="LIMIT", help="A number, such as 8 or 500G; or `unlimited`.")
    ],
    cloud_id: CloudOption = None,
) -> None:
    """Set a quota of the cloud. What exceeds it already stays."""
    number = _parse_limit(limit)
    from clouddesktop.cli import quota_actions  # noqa: PLC0415  (grpc)

    quota_actions.set_quota(options, cloud_id, quota_id, number)


def _parse_limit(text: str) -> int | None:
    if text == _UNLIMITED:
        return None
    match = re.fullmatch(r"([0-9]{1,15})([KMGT]?)", text)
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is no number, such as 8 or 500G, and not `{_UNLIMITED}`.",
            param_hint="LIMIT",
        )
    return int(match[1]) * _UNITS[match[2]]
