"""`python -m clouddesktop`, the same as the command `clouddesktop`."""

from __future__ import annotations

from clouddesktop.cli.main import main

main()
