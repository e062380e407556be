"""A folder as a source of compute images."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clouddesktop.errors import CloudDesktopError, NotFoundError, UnavailableError
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.base import (
    AmbiguousComputeImageError,
    SourceChangedError,
    SourceUnreadableError,
    SourceUnsafeError,
)
from clouddesktop.source.folder import FolderSource

NOBODY = 65534


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that any user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent) / "images"
        folder.mkdir()
        yield folder


@pytest.fixture
def source(root: Path) -> FolderSource:
    return FolderSource(name="local", folder_id="b1g", root=root)


def image(location: str) -> ComputeImage:
    image_id = location.partition(".")[0]
    return ComputeImage(id=image_id, folder_id="b1g", source="local", location=location)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be a user who has no rights of root, for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_image_files_are_compute_images(root: Path, source: FolderSource) -> None:
    """By name, in the order of ids; folders, hidden and other files are not."""
    for name in ("b.raw", "a.qcow2", "c.vmdk.gz", ".hidden.raw", "readme.md", "x" * 51 + ".raw"):
        (root / name).touch()
    (root / "folder.raw").mkdir()
    (root / "folder.raw" / "inner.raw").touch()
    assert list(source.iter_compute_images()) == [
        image("a.qcow2"),
        image("b.raw"),
        image("c.vmdk.gz"),
    ]
    assert source.find_compute_image("b") == image("b.raw")
    for missing in ("", "folder", "inner", "../images/b", "b.raw", ".hidden"):
        assert source.find_compute_image(missing) is None


def test_two_files_with_one_id_are_named(root: Path, source: FolderSource) -> None:
    """Which of them is meant cannot be guessed; both are listed."""
    (root / "a.raw").touch()
    (root / "a.qcow2").touch()
    with pytest.raises(AmbiguousComputeImageError, match=r"a\.qcow2 and a\.raw"):
        source.find_compute_image("a")
    assert [each.location for each in source.iter_compute_images()] == ["a.qcow2", "a.raw"]


def test_an_open_file_is_read_only_and_not_inherited(root: Path, source: FolderSource) -> None:
    """Its fingerprint is the file's, and it is closed afterwards."""
    (root / "a.raw").write_bytes(b"content")
    with source.open_file(image("a.raw")) as file:
        fd = file.fd
        assert os.pread(fd, 100, 0) == b"content"
        assert not os.get_inheritable(fd)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(fd, b"x")
        assert file.fingerprint == source.fingerprint(image("a.raw"))
        file.check_unchanged(file.fingerprint.to_text())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_links_inside_the_source_are_followed(root: Path, source: FolderSource) -> None:
    """Also where the source's own path is a link."""
    (root / "real.bin").write_bytes(b"content")
    (root / "a.raw").symlink_to("real.bin")
    alias = root.parent / "alias"
    alias.symlink_to(root)
    for each in (source, FolderSource(name="local", folder_id="b1g", root=alias)):
        assert each.find_compute_image("a") == image("a.raw")
        with each.open_file(image("a.raw")) as file:
            assert os.pread(file.fd, 100, 0) == b"content"


@pytest.mark.parametrize("absolute", [True, False])
def test_links_out_of_the_source_are_refused(
    root: Path, source: FolderSource, *, absolute: bool
) -> None:
    """Whatever they lead to, even a folder whose name begins alike."""
    outside = root.parent / "images-of-others"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    target = outside / "secret" if absolute else Path("..") / outside.name / "secret"
    (root / "a.raw").symlink_to(target)
    with pytest.raises(SourceUnsafeError, match="leads out"), source.open_file(image("a.raw")):
        pass
    with pytest.raises(SourceUnsafeError, match="leads out"):
        source.fingerprint(image("a.raw"))


@pytest.mark.parametrize("location", ["../secret.raw", "/etc/hostname"])
def test_a_location_cannot_lead_out(root: Path, source: FolderSource, location: str) -> None:
    """Even if the catalogue were forged."""
    (root.parent / "secret.raw").touch()
    with pytest.raises(SourceUnsafeError), source.open_file(image(location)):
        pass


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_only_regular_files_are_opened(root: Path, source: FolderSource, kind: str) -> None:
    """A pipe does not make the server wait."""
    path = root / "a.raw"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    assert source.find_compute_image("a") is None
    with pytest.raises(SourceUnsafeError, match="regular"), source.open_file(image("a.raw")):
        pass


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_is_gone_is_not_found(root: Path, source: FolderSource, *, link: bool) -> None:
    """In the API's own words; a link to nothing is nothing."""
    if link:
        (root / "a.raw").symlink_to("nowhere")
    with pytest.raises(NotFoundError, match=r"^Image a not found$"):
        source.fingerprint(image("a.raw"))
    with pytest.raises(NotFoundError), source.open_file(image("a.raw")):
        pass


def test_a_file_without_permission_is_named_with_the_remedy(
    root: Path, source: FolderSource
) -> None:
    """It is listed and has a fingerprint, but cannot be opened."""
    (root / "locked.raw").write_bytes(b"content")
    (root / "locked.raw").chmod(0)
    with unprivileged():
        assert source.find_compute_image("locked") == image("locked.raw")
        assert source.fingerprint(image("locked.raw")).size == 7
        with (
            pytest.raises(SourceUnreadableError, match=r"locked\.raw.*permission") as caught,
            source.open_file(image("locked.raw")),
        ):
            pass
    assert "chmod" in caught.value.remedy


def test_a_folder_without_permission_is_named(root: Path, source: FolderSource) -> None:
    """Its images are not simply missing."""
    root.chmod(0)
    try:
        with unprivileged(), pytest.raises(SourceUnreadableError, match="permission"):
            source.find_compute_image("a")
    finally:
        root.chmod(0o700)


def test_a_folder_that_is_gone_is_unavailable(root: Path, source: FolderSource) -> None:
    """Its storage may come back."""
    root.rmdir()
    with pytest.raises(UnavailableError, match="cannot be listed"):
        source.find_compute_image("a")


@pytest.mark.parametrize(
    "change", ["written", "grown", "shortened", "replaced", "removed", "led out"]
)
def test_a_change_of_any_kind_is_noticed(root: Path, source: FolderSource, change: str) -> None:
    """ABORTED with the file's name, while the old file is still open."""
    path = root / "a.raw"
    path.write_bytes(bytes(4096))
    os.utime(path, ns=(1, 1))
    with source.open_file(image("a.raw")) as file:
        expected = file.fingerprint.to_text()
        if change == "written":
            with path.open("r+b") as writer:
                writer.write(b"x")
        elif change == "grown":
            os.truncate(path, 8192)
        elif change == "shortened":
            os.truncate(path, 100)
        else:
            other = root.parent / "other"
            other.write_bytes(bytes(4096))
            os.utime(other, ns=(1, 1))
            path.unlink()
            if change == "replaced":
                other.replace(path)
            elif change == "led out":
                path.symlink_to(other)
        with pytest.raises(SourceChangedError, match=r"a\.raw .*changed") as caught:
            file.check_unchanged(expected)
    assert caught.value.remedy.endswith(".")


def test_a_link_in_circles_is_a_matter_of_its_own_id(root: Path, source: FolderSource) -> None:
    """The other images of the source are found all the same."""
    (root / "loop.raw").symlink_to("loop.raw")
    (root / "good.raw").touch()
    assert source.find_compute_image("good") == image("good.raw")
    with pytest.raises(CloudDesktopError, match="loop"), source.open_file(image("loop.raw")):
        pass
