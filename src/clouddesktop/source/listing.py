"""What an HTTP folder holds, by its index page and its lists of checksums.

Names come from another server: each is data, one segment of a path, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from clouddesktop.model.checksum import Checksum

_SUMS_LINE = re.compile(r"([0-9a-fA-F]{32,128})[ \t]+\*?(?:\./)?([^/\\]+?)\s*")
_BSD_LINE = re.compile(r"(MD5|SHA256|SHA512) \(([^/\\]+)\) = ([0-9a-fA-F]{32,128})\s*")

SUMS_FILES = ("SHA512SUMS", "SHA256SUMS", "MD5SUMS")
"""Lists of checksums that are looked for in a folder, the better one first."""

_SIDECARS = (".sha512", ".sha256", ".md5")
"""Endings of files that hold one checksum, of the file whose name they follow."""


def find_beside(name: str, read_text: Callable[[str], str | None]) -> Checksum | None:
    """Find a file's checksum in `<file>.sha256` and the like, or in `SHA256SUMS` and the like.

    `read_text` reads a small file beside it, and gives None where there is none.
    """
    for each in (*(name + ending for ending in _SIDECARS), *SUMS_FILES):
        text = read_text(each)
        found = None if text is None else find_digest(text, name)
        if found is not None:
            return found
    return None


def find_digest(text: str, name: str) -> Checksum | None:
    """Find the checksum of a file in a list, or in a file that holds nothing but its digest."""
    lone = text.split()
    digest = parse_sums(text).get(name, lone[0] if len(lone) == 1 else "")
    return Checksum.of_digest(digest)


def parse_index(page: str, *, url: str) -> list[str]:
    """Give the names that a folder's index page links to, directly below the folder at `url`."""
    parser = _LinkParser()
    parser.feed(page)
    base = urlsplit(url)
    names: dict[str, None] = {}
    for link in parser.links:
        try:
            target = urlsplit(urljoin(url, link))
        except ValueError:
            continue
        if (target.scheme, target.netloc) != (base.scheme, base.netloc) or target.query:
            continue
        if not target.path.startswith(base.path):
            continue
        name = unquote(target.path.removeprefix(base.path))
        if is_name(name):
            names[name] = None
    return list(names)


def parse_sums(text: str) -> dict[str, str]:
    """Give the digests in hexadecimal by name, from the lines of `sha256sum` and its like."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _SUMS_LINE.fullmatch(line):
            digest, name = match.groups()
        elif match := _BSD_LINE.fullmatch(line):
            _, name, digest = match.groups()
        else:
            continue
        if is_name(name):
            found[name] = digest.lower()
    return found


def is_name(name: str) -> bool:
    """Tell whether a text is the name of one file."""
    return bool(name) and name.isprintable() and "/" not in name and name not in (".", "..")


class _LinkParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links.extend(value for name, value in attrs if name == "href" and value)
