"""The open source of a run, and its end while threads still read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clouddesktop.catalog.copies import RunReplacedError
from clouddesktop.copying.session import CopySession
from clouddesktop.errors import NotFoundError
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.source.folder import FolderSource

IMAGE = ComputeImage(id="disk", folder_id="f", source="images", location="disk.raw")


@pytest.fixture
def session(tmp_path: Path) -> CopySession:
    (tmp_path / "disk.raw").write_bytes(b"x" * 1024)
    source = FolderSource(name="images", folder_id="f", root=tmp_path)
    return CopySession(sources=SourceCatalogue([source]), compute_image=IMAGE, readers=2)


def test_the_file_is_opened_once(session: CopySession) -> None:
    """All readers share it, one after the other and at a time."""
    with session, session.reading() as (first, _):
        with session.reading() as (second, _):
            assert second is first
        with session.reading() as (third, disk):
            assert third is first
            buffer = bytearray(1024)
            disk.read_into(0, memoryview(buffer))
            assert buffer == b"x" * 1024


def test_the_last_reader_closes_the_file_of_a_run_that_is_over(session: CopySession) -> None:
    """Its descriptor stands for nothing else while somebody reads."""
    with session.reading() as (file, disk):
        with session:
            pass
        assert file.fd is not None
        os.fstat(file.fd)
        disk.read_into(0, memoryview(bytearray(1024)))
        descriptor = file.fd
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_run_that_is_over_opens_nothing(session: CopySession) -> None:
    """A step that comes late stops without a trace."""
    with session:
        pass
    with pytest.raises(RunReplacedError), session.reading():
        pass


def test_a_source_that_cannot_be_opened_may_be_tried_again(
    session: CopySession, tmp_path: Path
) -> None:
    """Nothing stays open after the failure."""
    content = (tmp_path / "disk.raw").read_bytes()
    (tmp_path / "disk.raw").unlink()
    with session:
        with pytest.raises(NotFoundError), session.reading():
            pass
        (tmp_path / "disk.raw").write_bytes(content)
        with session.reading() as (_, disk):
            assert disk.size == 1024
