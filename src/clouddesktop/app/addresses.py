"""Where the server listens, and the names that it goes by."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from clouddesktop.errors import InvalidArgumentError, UnavailableError

_MOST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """HOST:PORT as a setting gives it; an IPv6 host is written in brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, setting: str, text: str) -> Address:
        """Read HOST:PORT.

        Raises:
            InvalidArgumentError: names the setting.
        """
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (host and colon and port.isdecimal() and int(port) <= _MOST_PORT):
            raise InvalidArgumentError(
                f"The setting {setting} is {text!r}, not HOST:PORT.",
                remedy=f"Use a form like --{setting} 127.0.0.1:0 or --{setting} [::1]:8080.",
            )
        return cls(host=host, port=int(port))

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or (
            _is_ip(self.host) and ipaddress.ip_address(self.host).is_loopback
        )

    @property
    def is_wildcard(self) -> bool:
        return _is_ip(self.host) and ipaddress.ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def reached_as(self, port: int, *, names: Iterable[str]) -> str:
        """Say where clients find it: on `port`, by the first name if it listens everywhere."""
        host = self.host
        if self.is_wildcard:
            host = next(iter(names), socket.gethostname())
        return str(Address(host=host, port=port))

    def listen(self, *, beside_others: bool = False) -> socket.socket:
        """Open a listening socket here, `beside_others` that allow it, too.

        Raises:
            UnavailableError: the address is taken or is not this machine's.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server(
                (self.host, self.port), family=family, backlog=512, reuse_port=beside_others
            )
        except OSError as error:
            # create_server adds the address to an OSError's text; gaierror numbers its own way.
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else error.strerror
            raise UnavailableError(
                f"The server cannot listen on {self}: {reason}.",
                remedy="Choose another address, or port 0 for any free one.",
            ) from error


def own_names(*addresses: Address, further: Iterable[str] = ()) -> set[str]:
    """Name every way to reach this server: for its certificate and as audience of tokens."""
    listening = {each.host for each in addresses if not each.is_wildcard}
    return {"localhost", "127.0.0.1", "::1", socket.gethostname(), *listening, *further}


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
