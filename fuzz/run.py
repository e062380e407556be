"""Fuzz one target, guided by coverage: `python fuzz/run.py TARGET [libFuzzer's options]`.

New inputs that reach new code go to the first folder that is named; findings to `crash-…` files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["clouddesktop", "oslo_utils"]):
    from targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")


def main(name: str, options: list[str]) -> None:
    corpus = CORPUS / name
    limits = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=65536"]
    atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
