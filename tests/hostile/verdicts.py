"""Puts samples before the server's own code in a traced process, and tells what came of each."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostile.judging import PIECE_SIZE, digest_of, pieces_of

CANARY = "canary-7f3a"
"""In the name of every file that samples point at and nobody may touch."""

SPOOL = "/tmp/clouddesktop-spool"
"""Where compressed samples are unpacked, into files without a name."""

MOST_SECONDS = 60.0
"""For one sample, on a slow machine under strace."""
MOST_KIB = 400 << 10

_JUDGE = Path(__file__).with_name("judging.py")
_BEGIN = re.compile(r'"/begin/([^"]+)"')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OPENED = re.compile(r"\b(?:openat|open|creat|openat2)\(.*\) = \d+|\bopenat resumed.*= \d+")
_IS_START = re.compile(r"/|/etc/(passwd|group|nsswitch\.conf)|/tmp/clouddesktop-\w+")
"""What setpriv and bwrap open on their way to the sandbox, and the folder of the socket."""
_NETWORK = re.compile(r"\b(?:connect|bind|sendto)\(.*AF_INET")
_OWN = ("/usr/", "/lib", "/proc", "/dev/null", "/sys/", "/etc/ld.so.cache", "/newroot", "/oldroot")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One file and what may come of it.

    `contents` are what the disk may be read as; without any it has to be refused, for one of
    `reasons` if those are given.
    """

    name: str
    file: bytes
    contents: tuple[bytes, ...] = ()
    is_refused: bool = True
    reasons: frozenset[str] = frozenset()
    size: int | None = None
    """The file's size where it is more than its bytes, in holes."""
    as_qemu: str | None = None
    """The format as which QEMU's reading of it is right, too."""


def refused(name: str, file: bytes, *reasons: str, size: int | None = None) -> Sample:
    return Sample(name=name, file=file, reasons=frozenset(reasons), size=size)


def readable(name: str, file: bytes, content: bytes) -> Sample:
    """A file that is odd, and honest all the same."""
    return Sample(name=name, file=file, contents=(content,), is_refused=False)


def either(name: str, file: bytes, *contents: bytes) -> Sample:
    """A file that may be refused, or read as one of these."""
    return Sample(name=name, file=file, contents=contents)


def as_qemu(name: str, file: bytes, *, disk_format: str = "qcow2") -> Sample:
    """A file that may be refused, or read as QEMU reads it."""
    return Sample(name=name, file=file, as_qemu=disk_format)


@dataclass
class Verdicts:
    """What came of the samples."""

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    touched: dict[str, set[str]] = field(default_factory=dict)
    opened: dict[str, set[str]] = field(default_factory=dict)
    networked: set[str] = field(default_factory=set)
    by_qemu: dict[str, set[str]] = field(default_factory=dict)
    usage: dict[str, int] = field(default_factory=dict)
    status: int = 0
    stderr: str = ""

    def check(self, sample: Sample) -> None:
        """Refused or read exactly, in time, and no other file touched."""
        assert sample.name in self.answers, f"it ended the program: {self.stderr[-2000:]}"
        answer = self.answers[sample.name]
        assert answer["seconds"] < MOST_SECONDS
        if "digest" in answer:
            expected = {digest_of(pieces_of(each)) for each in sample.contents}
            expected |= self.by_qemu.get(sample.name, set())
            assert expected, f"it is read, as a disk of {answer['size']} bytes"
            assert answer["digest"] in expected, "it is read as something else"
        else:
            assert sample.is_refused, answer
            assert answer["reason"] != "INTERNAL"
            if sample.reasons:
                assert answer["reason"] in sample.reasons, answer
        touched = {each for each in self.touched[sample.name] if CANARY in each}
        assert not touched, touched
        assert sample.name not in self.networked
        others = self.opened[sample.name] - {sample.name, SPOOL}
        if answer.get("reason") == "UNSAFE_DISK":
            assert not others, "it was looked at, and nothing else was started"
        assert all(_IS_START.fullmatch(each) for each in others), others


def judge_all(samples: Sequence[Sample], folder: Path) -> Verdicts:
    """Write the samples, read them in a traced process, and collect what it did."""
    files = folder / "files"
    files.mkdir()
    for sample in samples:
        assert not (files / sample.name).exists(), f"two samples are named {sample.name}"
        with (files / sample.name).open("wb") as file:
            file.write(sample.file)
            if sample.size is not None:
                file.truncate(sample.size)
    report, trace = folder / "report", folder / "trace"
    strace = shutil.which("strace")
    assert strace, "strace is not installed: run scripts/setup"
    calls = "trace=%file,socket,connect,bind,sendto"
    ended = subprocess.run(
        [
            *(strace, "-f", "--seccomp-bpf", "-qq", "-s", "300", "-e", calls, "-o", str(trace)),
            *(sys.executable, str(_JUDGE), str(files), str(report)),
        ],
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
        cwd=folder,
    )
    verdicts = Verdicts(status=ended.returncode, stderr=ended.stderr)
    for line in report.read_text().splitlines() if report.exists() else ():
        answer = json.loads(line)
        if "name" in answer:
            verdicts.answers[answer["name"]] = answer
        else:
            verdicts.usage = answer
    _read_trace(trace, files, verdicts)
    for sample in samples:
        if sample.as_qemu is not None and "digest" in verdicts.answers.get(sample.name, {}):
            verdicts.by_qemu[sample.name] = _read_as_qemu(files / sample.name, sample.as_qemu)
    shutil.rmtree(files)
    return verdicts


def _read_as_qemu(path: Path, disk_format: str) -> set[str]:
    """Give the digest of what qemu-img makes of it; none if it refuses."""
    target = path.with_suffix(".as-qemu-reads")
    command = ["qemu-img", "convert", "-f", disk_format, "-O", "raw", str(path), str(target)]
    if subprocess.run(command, capture_output=True, timeout=60, check=False).returncode:
        return set()
    with target.open("rb") as raw:
        pieces = iter(lambda: raw.read(PIECE_SIZE), b"")
        digest = digest_of((index * PIECE_SIZE, piece) for index, piece in enumerate(pieces))
    target.unlink()
    return {digest}


def _read_trace(trace: Path, files: Path, verdicts: Verdicts) -> None:
    own = (*_OWN, sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]))
    current = None
    with trace.open(errors="replace") as lines:
        for line in lines:
            if begins := _BEGIN.search(line):
                current = begins[1]
                verdicts.touched[current] = set()
                verdicts.opened[current] = set()
            elif '"/end"' in line:
                current = None
            elif current is not None:
                paths = _QUOTED.findall(line)
                verdicts.touched[current].update(paths)
                if _NETWORK.search(line):
                    verdicts.networked.add(current)
                if _OPENED.search(line):
                    # The sandbox's own start opens folders relative to each other.
                    verdicts.opened[current].update(
                        each.removeprefix(f"{files}/")
                        for each in paths[:1]
                        if each.startswith("/") and not each.startswith(own)
                    )


def by_name(samples: Iterable[Sample]) -> Mapping[str, Sample]:
    return {sample.name: sample for sample in samples}
