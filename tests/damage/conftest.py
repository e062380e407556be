"""A data folder that a real server has written, for tests to damage copies of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from parts.vault import Vault, make_vault


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    """The original; tests read it and leave it as it is."""
    return make_vault(tmp_path_factory.mktemp("written"))


@pytest.fixture
def vault(written: Vault, tmp_path: Path) -> Vault:
    """A copy that the test may damage."""
    return written.copied_to(tmp_path / "vault")


@pytest.fixture
def make_copy(written: Vault, tmp_path: Path) -> Callable[[], Vault]:
    """Make as many copies as wanted, one after the other at the same place."""
    return lambda: written.copied_to(tmp_path / "copy")
