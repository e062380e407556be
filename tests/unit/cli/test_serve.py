"""`clouddesktop serve`: its options and the settings are the same things."""

from __future__ import annotations

import inspect

from clouddesktop.cli.serve import serve
from clouddesktop.config import Settings


def test_every_setting_is_an_option() -> None:
    """And every option a setting: what one place can say, the others can."""
    assert set(inspect.signature(serve).parameters) == set(Settings.model_fields)
