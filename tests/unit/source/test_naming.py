"""From file names to image ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clouddesktop.source.naming import find_image_id


@pytest.mark.parametrize(
    ("file_name", "image_id"),
    [
        ("debian12.qcow2", "debian12"),
        ("debian-12.1.raw", "debian-12.1"),
        ("debian12.raw.xz", "debian12"),
        ("Windows 11.VHDX", "Windows 11"),
        ("netinst.iso.gz", "netinst"),
        ("two.img.raw", "two.img"),
        ("x" * 50 + ".img", "x" * 50),
        ("x" * 51 + ".img", None),
        ("readme.txt", None),
        ("archive.gz", None),
        ("raw", None),
        (".qcow2", None),
        (".hidden.qcow2", None),
        (".raw.xz", None),
        ("broken\udcff.raw", None),
        ("two\nlines.raw", None),
    ],
)
def test_the_id_is_the_name_without_image_ending(file_name: str, image_id: str | None) -> None:
    """Endings of formats and compressions go, all else stays; other files are no images."""
    assert find_image_id(file_name) == image_id


@given(file_name=st.text(max_size=70))
def test_an_id_fits_the_api_and_begins_the_name(file_name: str) -> None:
    """1 to 50 characters."""
    image_id = find_image_id(file_name)
    if image_id is not None:
        assert 1 <= len(image_id) <= 50
        assert file_name.startswith(f"{image_id}.")
