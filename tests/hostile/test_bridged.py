"""Hostile files that lie elsewhere: the bridge makes no difference to what comes of them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from clouddesktop.disk.file import LocalFile
from hostile.judging import outcome_of
from hostile.qcow2_samples import iter_samples
from hostile.verdicts import CANARY
from parts.children import own_children
from parts.disk_files import MemoryFile


@pytest.mark.qemu
def test_a_file_behind_the_bridge_is_judged_as_a_local_one(tmp_path: Path) -> None:
    """Read as the same bytes, or refused for the same reason; nothing is left behind."""
    samples = [
        sample
        for sample in iter_samples(tmp_path / CANARY)
        if sample.contents and sample.size is None
    ]
    threads = threading.active_count()
    path = tmp_path / "sample"
    read = 0
    for sample in samples:
        path.write_bytes(sample.file)
        with path.open("rb") as file:
            local = outcome_of(LocalFile(file.fileno()))
        bridged = outcome_of(MemoryFile(sample.file, name="sample"))
        for each in (local, bridged):
            each.pop("message", None)  # QEMU names what it reads from
        assert bridged == local, sample.name
        read += "digest" in bridged
    assert read > 50
    assert threading.active_count() == threads
    assert own_children() == []
