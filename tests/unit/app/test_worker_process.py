"""A worker as a child of a server."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clouddesktop.app import worker_process
from clouddesktop.app.foundation import no_failpoint
from clouddesktop.app.worker_process import WorkerProcess
from clouddesktop.config import load_settings
from parts.children import share_resource_tracker
from parts.waiting import wait_for

WAIT_SECONDS = 60

WAITS_FOR_EVER = """
import threading, time
from concurrent.futures import ThreadPoolExecutor
from clouddesktop.app.worker_process import leave_threads

def work():
    pool = ThreadPoolExecutor(1)
    pool.submit(time.sleep, 600)
    begun.set()
    time.sleep(600)

begun = threading.Event()
threading.Thread(target=work, daemon=True).start()
begun.wait()
leave_threads()
"""
"""Threads of a pool that a daemon thread has made are daemons, too; Python waits for them at its
end all the same."""
Child = multiprocessing.context.SpawnProcess


def start_sleeper(seconds: float) -> Child:
    share_resource_tracker()
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(seconds,))
    child.start()
    return child


def test_a_worker_that_is_just_started_ends_with_its_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server's end and the start of another worker meet: none is left that nobody ends."""
    started: list[Child] = []
    is_starting, goes_on = threading.Event(), threading.Event()

    def start(_worker: WorkerProcess) -> Child:
        if started:
            is_starting.set()
            assert goes_on.wait(WAIT_SECONDS)
        started.append(start_sleeper(600 if started else 0))
        return started[-1]

    monkeypatch.setattr(WorkerProcess, "_start", start)
    worker = WorkerProcess(load_settings(), failpoint=no_failpoint)
    worker.__enter__()
    assert is_starting.wait(WAIT_SECONDS)
    with ThreadPoolExecutor(1) as threads:
        ends = threads.submit(worker.__exit__, None, None, None)
        wait_for(worker._ending.is_set, "the server ends")
        goes_on.set()
        try:
            ends.result(WAIT_SECONDS)
        finally:
            started[-1].kill()


def test_a_worker_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may have no memory for it at the moment."""
    monkeypatch.setattr(worker_process, "_MOST_PAUSE_SECONDS", 0.01)
    tries: list[bool] = []

    def start(_worker: WorkerProcess) -> Child:
        tries.append(True)
        if 1 < len(tries) < 4:
            raise OSError(12, "Cannot allocate memory")
        return start_sleeper(600 if len(tries) > 1 else 0)

    monkeypatch.setattr(WorkerProcess, "_start", start)
    with WorkerProcess(load_settings(), failpoint=no_failpoint):
        wait_for(lambda: len(tries) == 4, "it is tried again")


def test_a_worker_waits_for_no_thread_at_its_end() -> None:
    """Not even for those of a pool that DBOS has made, which wait for a database for ever."""
    ended = subprocess.run(
        [sys.executable, "-c", WAITS_FOR_EVER], timeout=WAIT_SECONDS, check=False
    )
    assert ended.returncode == 0
