"""Verbs that get the options of the whole tool, or the settings of a server, as one value.

Typer reads a verb's options from its signature, so the decorators here write one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_type_hints

import typer

from clouddesktop.cli.options import (
    EndpointOption,
    FolderOption,
    Globals,
    ProfileOption,
    StyleOption,
)
from clouddesktop.cli.server_options import ServerOptions

_GLOBALS: dict[str, Any] = {
    "style": StyleOption,
    "profile": ProfileOption,
    "folder_id": FolderOption,
    "endpoint": EndpointOption,
}
_GLOBALS_OF_SERVER = {name: each for name, each in _GLOBALS.items() if name != "folder_id"}


def with_globals(verb: Callable[..., None]) -> Callable[..., None]:
    """Make a verb of a function whose first parameter gets the options of the whole tool."""
    return _with_globals(verb, _GLOBALS)


def with_globals_of_server(verb: Callable[..., None]) -> Callable[..., None]:
    """Do the same for a verb that is about no folder: it has no --folder-id."""
    return _with_globals(verb, _GLOBALS_OF_SERVER)


def with_settings(
    *names: str,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a verb of a function of a server's `Settings`: these are its options, or else all.

    What is no option of the verb comes from the variables and the file all the same. The function's
    further parameters are options of its own.
    """
    declared = get_type_hints(ServerOptions, include_extras=True)
    options = {name: declared[name] for name in names or declared}

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        further = _further_parameters(verb)

        def run(**values: Any) -> None:
            from clouddesktop.config import load_settings  # noqa: PLC0415  (pydantic)

            own = {each.name: values.pop(each.name) for each in further}
            given = {name: value for name, value in values.items() if value != []}
            verb(load_settings(**given), **own)

        return _with_signature(run, verb, [*further, *_to_parameters(options)])

    return decorate


def _with_globals(verb: Callable[..., None], shared: Mapping[str, Any]) -> Callable[..., None]:
    def run(context: typer.Context, **values: Any) -> None:
        given = {name: values.pop(name) for name in shared}
        verb(context.ensure_object(Globals).overridden_by(**given), **values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("context", keyword, annotation=typer.Context)]
    parameters += _further_parameters(verb)
    return _with_signature(run, verb, [*parameters, *_to_parameters(shared)])


def _further_parameters(verb: Callable[..., None]) -> list[inspect.Parameter]:
    """Give the parameters after the first as options."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = list(inspect.signature(verb).parameters.values())[1:]
    # Settings are imported for type checkers only, and are what the first parameter is.
    hints = get_type_hints(verb, localns={"Settings": Any}, include_extras=True)
    return [each.replace(kind=keyword, annotation=hints[each.name]) for each in parameters]


def _to_parameters(options: Mapping[str, Any]) -> list[inspect.Parameter]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, keyword, annotation=option, default=None)
        for name, option in options.items()
    ]


def _with_signature(
    run: Callable[..., None], verb: Callable[..., None], parameters: Iterable[inspect.Parameter]
) -> Callable[..., None]:
    signature = inspect.Signature(list(parameters))
    run.__name__, run.__doc__ = verb.__name__, verb.__doc__
    run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
    run.__signature__ = signature  # type: ignore[attr-defined]  # typer reads it
    return run
