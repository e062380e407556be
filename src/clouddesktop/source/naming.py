"""Which files are compute images, and what their ids are."""

from __future__ import annotations

MAX_ID_LENGTH = 50
"""Characters of an image id, as the API limits CopyDesktopImageRequest.image_id."""

_FORMATS = (".raw", ".img", ".qcow2", ".vmdk", ".vdi", ".vhd", ".vhdx", ".iso", ".ova")
_COMPRESSIONS = (".gz", ".xz", ".zst", ".bz2")


def find_image_id(file_name: str) -> str | None:
    """Give the id of the compute image in a file of that name, None if there is none.

    `debian12.qcow2` and `debian12.raw.xz` are both `debian12`; the ending may be in capitals. Names
    that no request could carry (control characters, broken encodings) are left out.
    """
    if not file_name.isprintable():
        return None
    stem = _without(file_name, _COMPRESSIONS) or file_name
    image_id = _without(stem, _FORMATS)
    if image_id is None or image_id.startswith(".") or len(image_id) > MAX_ID_LENGTH:
        return None
    return image_id


def _without(name: str, endings: tuple[str, ...]) -> str | None:
    for ending in endings:
        if len(name) > len(ending) and name.lower().endswith(ending):
            return name[: -len(ending)]
    return None
