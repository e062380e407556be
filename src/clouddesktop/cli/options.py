"""Options that several verbs share; those of the whole tool may stand before or after the verb."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

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
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        envvar="CLOUDDESKTOP_TOKEN_FILE",
        help="A file with a token to call with, instead of the profile's key.",
        rich_help_panel=_PANEL,
    ),
]
"""For the options before the verb only."""

TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0, help="How long to wait at most; default: a day."
    ),
]

DescriptionOption = Annotated[str, typer.Option(help="A description.")]
NewNameOption = Annotated[str | None, typer.Option(help="Its name from now on.")]
NewDescriptionOption = Annotated[str | None, typer.Option(help="Its description from now on.")]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE[,KEY=VALUE...]", help="Labels; all of them."),
]
RoleOption = Annotated[str, typer.Option(help="The role, such as vdi.viewer.")]
SubjectOption = Annotated[
    str,
    typer.Option(
        metavar="TYPE:ID",
        help="Who: serviceAccount:ID, federatedUser:ISSUER:SUBJECT, userAccount:ID, or"
        " system:allAuthenticatedUsers.",
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
    token_file: Path | None = None

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


def parse_labels(texts: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in ",".join(texts).split(",") if texts else []:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint="--labels")
        labels[key.strip()] = value.strip()
    return labels


def parse_changes(
    *, new_name: str | None, description: str | None, labels: list[str] | None
) -> dict[str, Any]:
    """Give the fields to change, by their names in the API; labels replace all that there are."""
    fields = {
        "name": new_name,
        "description": description,
        "labels": None if labels is None else parse_labels([each for each in labels if each]),
    }
    changes = {field: value for field, value in fields.items() if value is not None}
    if not changes:
        raise typer.BadParameter("Say what to change: --new-name, --description or --labels.")
    return changes
