"""Settings of hypothesis; fixtures of the real parts live in tests/parts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    deadline=None,  # machines differ; speed is the benchmarks' matter
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("deep", parent=settings.get_profile("default"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))  # noqa: TID251  (test set-up)


@pytest.fixture(autouse=True)
def _unchanged_umask() -> Iterator[None]:
    """Commands that run in the tests' process set it, as they do in one of their own."""
    umask = os.umask(0)
    os.umask(umask)
    yield
    os.umask(umask)


pytest_plugins = [
    "parts.node_sdk",
    "parts.openstack_cloud",
    "parts.postgres",
    "parts.seaweedfs",
    "parts.server",
    "parts.cluster",  # last: it imports the others
]

# Started by nohup or in the background of a script, children would ignore Ctrl-C as we do.
signal.signal(signal.SIGINT, signal.default_int_handler)
