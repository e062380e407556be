"""Which addresses a server may be fetched from: the guard against requests that are led astray.

A name is looked up once, each address it stands for is checked, and the connection goes to an
address that was checked. However a host is spelt (octal, hexadecimal, one number, IPv6 with IPv4
inside), what counts is where it leads.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses in IPv6 ones (RFC 6052); so are 6to4 (RFC 3056), Teredo and mapped ones."""

_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "::/96",  # IPv4-compatible (RFC 4291)
            "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
            "64:ff9b:1::/48",  # NAT64 of a local network (RFC 8215)
            "fec0::/10",  # site-local (RFC 3879)
            "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
        ),
    )
)
"""Networks that Python's list of special ones leaves out."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_public(text: str, *, allowed: Sequence[Network] = ()) -> bool:
    """Tell whether an address is one of the Internet, and no private, local or special one.

    Those in `allowed` networks count as public.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if any(address in network for network in allowed):
        return True
    return all(
        each.is_global
        and not each.is_multicast
        and not any(each in network for network in _SPECIAL)
        for each in _with_embedded(address)
    )


def resolve(host: str, port: int) -> Sequence[str]:
    """Give the addresses that a host stands for.

    Raises:
        OSError: there is no such host.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no host name") from error
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def _with_embedded(address: Address) -> list[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner: list[ipaddress.IPv4Address | None] = [address.ipv4_mapped, address.sixtofour]
    if address.teredo is not None:
        inner.extend(address.teredo)
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    found: list[Address] = [each for each in inner if each is not None]
    # A mapped address is nothing but the IPv4 one; the others are also what they look like.
    return found if address.ipv4_mapped is not None else [address, *found]
