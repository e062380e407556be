"""The API as a whole: its methods with their interceptors, the same for gRPC and REST.

What is not served answers UNIMPLEMENTED.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from clouddesktop.api.authentication import Callers
from clouddesktop.api.calls import Call, Interceptor, Method, Proceed, chain
from clouddesktop.api.interceptors import (
    Authentication,
    CallLimit,
    CallLog,
    Deadlines,
    Errors,
    RequestIds,
    Validation,
)
from clouddesktop.api.parts import ApiParts
from clouddesktop.api.services import Service, build_services
from clouddesktop.api.validation import RequestValidator
from clouddesktop.errors import UnimplementedError

_MOST_CALLS = 1000
"""At a time; streams of the health and reflection services do not count, for they never end."""


@dataclass(frozen=True, slots=True)
class ServedMethod:
    """A method with its interceptors around it."""

    method: Method
    proceed: Proceed


class Api:
    """Every method that is served, ready to be called, whatever wire the calls come by."""

    def __init__(self, services: Sequence[Service], interceptors: Sequence[Interceptor]) -> None:
        self.services = tuple(services)
        self._interceptors = tuple(interceptors)
        self._methods = {
            method.path: self._served(method) for each in services for method in each.methods
        }

    @property
    def methods(self) -> list[Method]:
        """Every method that is served."""
        return [method for each in self.services for method in each.methods]

    def find(self, path: str) -> ServedMethod:
        """Find the method at `/<service>/<method>`; one that is not served says so when called."""
        served = self._methods.get(path)
        if served is not None:
            return served
        # Open: what is not served is told to everybody, as reflection tells what is.
        return self._served(Method(path=path, request_class=None, answer=_refuse, is_open=True))

    def _served(self, method: Method) -> ServedMethod:
        return ServedMethod(method, chain(method, self._interceptors))


def build_api(parts: ApiParts) -> Api:
    """Put the interceptors around everything that is served.

    Raises:
        ValueError: a rule in a request's descriptor is not understood; names the field.
    """
    services = build_services(parts)
    validator = RequestValidator()
    for service in services:
        for method in service.methods:
            if method.request_class is not None:
                validator.prepare(method.request_class)
    interceptors: tuple[Interceptor, ...] = (
        RequestIds(),
        CallLog(),
        *([] if parts.auditing is None else [parts.auditing]),
        Errors(),
        CallLimit(_MOST_CALLS),
        Deadlines(),
        Validation(validator),
        Authentication(Callers(tokens=parts.tokens, access=parts.access, oidc=parts.oidc)),
        *([] if parts.rate_limit is None else [parts.rate_limit]),
    )
    return Api(services, interceptors)


async def _refuse(_request: Any, call: Call) -> NoReturn:
    name = call.method.path.removeprefix("/").replace("/", ".")
    raise UnimplementedError(
        f"The method {name} is not served.",
        remedy="The server's reflection and docs/compatibility.md tell what is.",
        facts={"method": name},
    )
