"""Names of packs tell which run has written them."""

from __future__ import annotations

import pytest

from clouddesktop.ids import PackId, epoch_of


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        ("operation/000003-12-1", 12),
        ("operation/000003-2-1-e3whelper", 2),
        ("operation/somebody-elses", 0),
        ("operation/x", 0),
    ],
)
def test_a_packs_run_is_in_its_name(name: str, epoch: int) -> None:
    """A run that is over, and does not know it yet, leaves the packs of later ones alone."""
    assert epoch_of(PackId(name)) == epoch
