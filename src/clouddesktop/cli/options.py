"""Options that several verbs share; those of the whole tool may stand before or after the verb."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

import typer

_PANEL = "Options of every verb"


class Style(StrEnum):
    """How results are printed; text is YAML for one resource and a table for many."""

    TEXT = "text"
    YAML = "yaml"
    JSON = "json"
    TABLE = "table"


StyleOption = Annotated[
    Style | None,
    typer.Option(
        "--format",
        help="How to print results; text: YAML for one resource, a table for many.",
        rich_help_panel=_PANEL,
    ),
]
_PROFILE_HELP = "The server's profile.yaml. Default: clouddesktop-data/profile.yaml."
ProfileOption = Annotated[
    Path | None, typer.Option("--profile", help=_PROFILE_HELP, rich_help_panel=_PANEL)
]
ProfileOptionOrVariable = Annotated[
    Path | None,
    typer.Option(
        "--profile", envvar="CLOUDDESKTOP_PROFILE", help=_PROFILE_HELP, rich_help_panel=_PANEL
    ),
]
"""For the options before the verb only: else the variable would win over them."""

FolderOption = Annotated[
    str | None,
    typer.Option(
        "--folder-id", help="The folder, instead of the profile's.", rich_help_panel=_PANEL
    ),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="HOST:PORT",
        help="The server's gRPC address, instead of the profile's.",
        rich_help_panel=_PANEL,
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0, help="How long to wait at most; default: a day."
    ),
]

AsyncOption = Annotated[
    bool, typer.Option("--async", help="Print the operation, and don't wait for its end.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals:
    """The options of the whole tool; None was not given."""

    style: Style | None = None
    profile: Path | None = None
    folder_id: str | None = None
    endpoint: str | None = None

    def overridden_by(
        self,
        *,
        style: Style | None,
        profile: Path | None,
        endpoint: str | None,
        folder_id: str | None = None,
    ) -> Self:
        """Let what stands after the verb win."""
        return replace(
            self,
            style=style or self.style,
            profile=profile or self.profile,
            endpoint=endpoint or self.endpoint,
            folder_id=folder_id or self.folder_id,
        )
