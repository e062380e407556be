"""Several sources together, and how they are configured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clouddesktop.errors import InvalidArgumentError, NotFoundError
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.base import AmbiguousComputeImageError, Source
from clouddesktop.source.catalogue import SourceCatalogue, parse_source


def make_source(root: Path, *files: str) -> Source:
    root.mkdir()
    for each in files:
        (root / each).write_bytes(each.encode())
    return parse_source(name=root.name, url=f"file://{root}", folder_id="b1g")


def test_an_image_is_found_in_any_source(tmp_path: Path) -> None:
    """And opened in the right one."""
    catalogue = SourceCatalogue(
        [make_source(tmp_path / "one", "a.raw"), make_source(tmp_path / "two", "b.qcow2")]
    )
    image = catalogue.get_compute_image("b")
    assert image == ComputeImage(id="b", folder_id="b1g", source="two", location="b.qcow2")
    assert catalogue.fingerprint(image).to_text().startswith("file-1:7:")
    with catalogue.open_file(image) as file:
        assert file.fd is not None
        assert os.pread(file.fd, 100, 0) == b"b.qcow2"


def test_an_unknown_image_is_not_found(tmp_path: Path) -> None:
    """In the API's words; so is one whose source is configured no longer."""
    catalogue = SourceCatalogue([make_source(tmp_path / "one", "a.raw")])
    with pytest.raises(NotFoundError, match=r"^Image x not found$"):
        catalogue.get_compute_image("x")
    gone = ComputeImage(id="x", folder_id="b1g", source="gone", location="x.raw")
    with pytest.raises(NotFoundError, match=r"^Image x not found$"):
        catalogue.fingerprint(gone)


def test_an_id_in_two_sources_names_both(tmp_path: Path) -> None:
    """Which of them is meant cannot be guessed."""
    catalogue = SourceCatalogue(
        [make_source(tmp_path / "one", "a.raw"), make_source(tmp_path / "two", "a.qcow2")]
    )
    with pytest.raises(AmbiguousComputeImageError, match=r"a\.raw in one and a\.qcow2 in two"):
        catalogue.get_compute_image("a")


def test_sources_have_names_of_their_own(tmp_path: Path) -> None:
    """Otherwise an image's source would be unclear."""
    source = make_source(tmp_path / "one")
    with pytest.raises(InvalidArgumentError, match="one name"):
        SourceCatalogue([source, source])


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    """Percent-encoded, as URLs have it."""
    (tmp_path / "my images #1").mkdir()
    url = f"file://localhost{tmp_path}/my%20images%20%231"
    assert list(parse_source(name="n", url=url, folder_id="f").iter_compute_images()) == []


@pytest.mark.parametrize(
    "url",
    ["", "/srv", "file:srv", "file://host/srv", "ftp://host/x", "file:///etc/hostname?x"],
)
def test_other_urls_are_invalid(url: str) -> None:
    """The error says what to write."""
    with pytest.raises(InvalidArgumentError, match="not understood") as caught:
        parse_source(name="n", url=url, folder_id="f")
    assert "file:///DIR" in caught.value.remedy


def test_a_source_has_to_be_a_folder(tmp_path: Path) -> None:
    """Neither a file nor nothing."""
    (tmp_path / "file").touch()
    for each in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(InvalidArgumentError, match="not a folder"):
            parse_source(name="n", url=f"file://{each}", folder_id="f")
