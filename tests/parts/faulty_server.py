"""`clouddesktop serve`, or `worker`, with failpoints: notes each, ends or pauses at one of them.

Variables: FAULT_LOG is the file of notes, a line each; FAULT_KILL names the failpoint at which the
process ends itself by SIGKILL; FAULT_PAUSE the one that waits while the file FAULT_GATE exists;
FAULT_SLOW is for how many seconds each range waits when it begins.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from pathlib import Path

from clouddesktop.app import serving, worker_process
from clouddesktop.cli.main import main

_VARIABLES = dict(os.environ)  # noqa: TID251  (how the test talks to this process)


def failpoint(name: str) -> None:
    """Note the failpoint, then do what the test asks for."""
    log = os.open(_VARIABLES["FAULT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{name}\n".encode())
    os.close(log)
    if name.startswith("range-begin:"):
        time.sleep(float(_VARIABLES.get("FAULT_SLOW", "0")))
    if name == _VARIABLES.get("FAULT_KILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name == _VARIABLES.get("FAULT_PAUSE"):
        gate = Path(_VARIABLES["FAULT_GATE"])
        while gate.exists():
            time.sleep(0.01)


if __name__ == "__main__":
    serving.run_server = functools.partial(serving.run_server, failpoint=failpoint)
    worker_process.run_worker = functools.partial(worker_process.run_worker, failpoint=failpoint)
    if sys.argv[1] != "worker":
        sys.argv.insert(1, "serve")
    main()
