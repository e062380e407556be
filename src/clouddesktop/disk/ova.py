"""OVA files: a tar with an OVF description and disks, of which the first is read where it lies.

    disk.ovf   (first member)  DiskSection: Disk@fileRef -> References: File@id, @href, @compression
    disk.mf    (maybe)         SHA256(disk.vmdk)= hex
    disk.vmdk

Format: OVF specification, DMTF DSP0243. Nothing is extracted, and names are compared, never opened.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from clouddesktop.disk.errors import DamagedDiskError, UnsafeDiskError
from clouddesktop.disk.file import DiskFile, FileWindow
from clouddesktop.disk.structure import unsupported

_MOST_MEMBERS = 1000
_MOST_TEXT = 4 << 20
_PIECE_SIZE = 4 << 20
_TAR_MAGIC_AT, _TAR_MAGIC = 257, b"ustar"
_MANIFEST_LINE = re.compile(r"(SHA1|SHA256|SHA512)\s?\((.+)\)\s?=\s?([0-9a-fA-F]+)\s*")
_UNPACK = "Unpack the archive and copy the disk in it."


def is_ova(file: DiskFile) -> bool:
    """Tell whether a file is a tar whose first member is an OVF description."""
    if file.read_at(_TAR_MAGIC_AT, len(_TAR_MAGIC)) != _TAR_MAGIC:
        return False
    try:
        # Its own name may come in headers of their own before it (pax, GNU).
        with tarfile.open(fileobj=_Reader(file), mode="r:") as archive:
            first = archive.next()
    except (tarfile.TarError, ValueError, OverflowError, RecursionError):
        return False
    return first is not None and first.name.lower().endswith(".ovf")


def find_disk(file: DiskFile, *, check_alive: Callable[[], None] = lambda: None) -> FileWindow:
    """Find the first disk of the description; its digest is verified where the archive has one.

    The disk may be compressed by gzip. `check_alive` is called between pieces of a digest's bytes
    and may raise.

    Raises:
        UnsafeDiskError: the disk is a link, or lies outside the archive.
        DamagedDiskError: the archive ends early, contradicts itself, or a digest is wrong.
        UnsupportedDiskError: there is no disk, or it comes in pieces.
    """
    members = _read_members(file)
    found = (each for each in members.values() if each.name.lower().endswith(".ovf"))
    description = next(found, None)
    if description is None:
        raise _damaged(file, "it has no description")
    name = _find_name(file, _read(file, description))
    member = members.get(name)
    if member is None:
        raise UnsafeDiskError(
            f"The archive {file.name} is unsafe to read: its disk is not in it.",
            remedy=_UNPACK,
            facts={"file": file.name},
        )
    window = FileWindow(file, name=f"{name} in {file.name}", offset=member.offset, size=member.size)
    manifest = _find_manifest(members, description)
    if manifest is not None:
        _verify(window, name, _read(file, manifest), check_alive=check_alive)
    return window


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    name: str
    offset: int
    size: int


def _read_members(file: DiskFile) -> Mapping[str, _Member]:
    members: dict[str, _Member] = {}
    try:
        with tarfile.open(fileobj=_Reader(file), mode="r:") as archive:
            for each in archive:
                if not each.isreg() or each.issparse():
                    raise UnsafeDiskError(
                        f"The archive {file.name} is unsafe to read: it holds more than files.",
                        remedy=_UNPACK,
                        facts={"file": file.name},
                    )
                if each.name in members or len(members) >= _MOST_MEMBERS:
                    raise _damaged(file, "its members make no sense")
                end = each.offset_data + each.size
                if each.size < 0 or end > file.size:
                    raise _damaged(file, f"it ends before byte {end}, where {each.name!r} does")
                members[each.name] = _Member(
                    name=each.name, offset=each.offset_data, size=each.size
                )
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise _damaged(file, f"it is no whole tar ({error})") from error
    return members


def _find_manifest(members: Mapping[str, _Member], description: _Member) -> _Member | None:
    """Find the digests: the file named as the description is, or else the only one of its kind."""
    found = members.get(f"{description.name[: -len('.ovf')]}.mf")
    if found is not None:
        return found
    others = [each for each in members.values() if each.name.lower().endswith(".mf")]
    return others[0] if len(others) == 1 else None


def _find_name(file: DiskFile, text: bytes) -> str:
    """Give the name of the first disk's file."""
    try:
        root = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise _damaged(file, "its description cannot be read") from error
    files = {_get(each, "id"): each for each in _iter(root, "File")}
    for disk in _iter(root, "Disk"):
        found = files.get(_get(disk, "fileRef"))
        if found is None:
            continue
        if _get(found, "chunkSize"):
            raise unsupported(file, "holds its disk in pieces", remedy=_UNPACK)
        return _get(found, "href")
    raise unsupported(file, "describes no disk that it holds", remedy=_UNPACK)


def _iter(root: Element, tag: str) -> list[Element]:
    return [each for each in root.iter() if each.tag.rpartition("}")[2] == tag]


def _get(element: Element, name: str) -> str:
    """Read an attribute, in whichever version of the OVF name space it is."""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return value
    return ""


def _verify(
    window: FileWindow, name: str, manifest: bytes, *, check_alive: Callable[[], None]
) -> None:
    for line in manifest.decode("utf-8", "replace").splitlines():
        match = _MANIFEST_LINE.fullmatch(line.strip())
        if match is None or match[2] != name:
            continue
        found = hashlib.new(match[1].lower(), usedforsecurity=False)
        for offset in range(0, window.size, _PIECE_SIZE):
            check_alive()
            found.update(window.read_at(offset, _PIECE_SIZE))
        if found.hexdigest() != match[3].lower():
            raise _damaged(window, f"it does not have the {match[1]} that the archive gives")


def _read(file: DiskFile, member: _Member) -> bytes:
    if member.size > _MOST_TEXT:
        raise _damaged(file, f"its {member.name!r} is too long")
    return file.read_at(member.offset, member.size)


def _damaged(file: DiskFile, why: str) -> DamagedDiskError:
    return DamagedDiskError(
        f"The archive {file.name} cannot be read: {why}.",
        remedy="Copy or download the file again, or unpack it and copy the disk in it.",
        facts={"file": file.name},
    )


class _Reader(io.RawIOBase):
    """A file as Python's tarfile wants it."""

    def __init__(self, file: DiskFile) -> None:
        super().__init__()
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        # tarfile reads headers and the extended ones of pax and GNU, whose size is theirs to say.
        wanted = self._file.size - self._position if size < 0 else size
        if wanted > _MOST_TEXT:
            raise ValueError("a header of it is too long")
        data = self._file.read_at(self._position, max(0, wanted))
        self._position += len(data)
        return data
