"""The open source of a run, and its end while threads still read."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
import zstandard

from clouddesktop.catalog.copies import RunReplacedError
from clouddesktop.copying.session import CopySession
from clouddesktop.disk.spool import Spool
from clouddesktop.errors import NotFoundError
from clouddesktop.model.image import ComputeImage
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.source.folder import FolderSource
from parts.disks import MIB, random_bytes
from parts.waiting import wait_for

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


def test_the_end_of_a_run_ends_its_unpacking(tmp_path: Path) -> None:
    """Nobody waits for it, and whoever waited for the disk is told."""
    pack = zstandard.ZstdCompressor().compress
    endless = pack(random_bytes(MIB, seed=1)) + pack(bytes(64 * MIB)) * 10_000
    (tmp_path / "disk.raw").write_bytes(endless)
    source = FolderSource(name="images", folder_id="f", root=tmp_path)
    spool = Spool(tmp_path / "spool", most_bytes=8 * MIB)
    session = CopySession(
        sources=SourceCatalogue([source]), compute_image=IMAGE, readers=2, spool=spool
    )
    outcomes: list[BaseException] = []

    def read() -> None:
        try:
            with session.reading():
                pass
        except RunReplacedError as error:
            outcomes.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    with session:
        for each in readers:
            each.start()
        wait_for(lambda: spool.used > 0, "unpacking has begun")
        ends_at = time.monotonic()
    assert time.monotonic() - ends_at < 1
    for each in readers:
        each.join(30)
    assert time.monotonic() - ends_at < 5
    assert len(outcomes) == 2
    assert spool.used == 0
