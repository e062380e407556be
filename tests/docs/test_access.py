"""The page about access shows the role table as it is."""

from __future__ import annotations

import re
from pathlib import Path

from clouddesktop.model.roles import ROLES

_PAGE = Path(__file__).parents[2] / "docs/access.md"


def test_the_page_has_every_role_with_what_it_gives() -> None:
    """Neither a role nor a permission more or less."""
    rows = [
        [set(re.findall(r"`([\w.-]+)`", cell)) for cell in line.split(" | ")]
        for line in _PAGE.read_text().splitlines()
        if line.startswith("| `")
    ]
    shown = {min(name): (includes, own) for name, _, includes, own in rows}
    assert shown == {
        name: (set(role.includes), {str(each) for each in role.permissions})
        for name, role in ROLES.items()
    }
