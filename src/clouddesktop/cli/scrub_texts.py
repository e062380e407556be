"""Scrubs in words: how far one is, what it came to, and which images it found hit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clouddesktop.cli.texts import format_size, to_printable

_PHASE_WORDS = {
    "packs": "reading packs",
    "manifests": "reading manifests",
    "repairing": "repairing",
    "judging": "looking which images are whole",
    "done": "done",
}
_STEP = 10  # percent between two lines of progress
_MOST_NAMES = 20


def describe_scrub(progress: Mapping[str, Any]) -> str:
    """Say how far a scrub is, in few words."""
    phase = str(progress.get("phase", "beginning"))
    words = _PHASE_WORDS.get(phase, phase)
    total = progress.get("packs_total", 0)
    if phase == "packs" and total:
        done = progress.get("packs_checked", 0) + progress.get("packs_skipped", 0)
        words = f"{words} ({100 * done // total // _STEP * _STEP} %)"
    return words


def summarize_scrub(report: Mapping[str, Any]) -> str:
    """Say what a scrub came to, in a sentence or two."""
    read = format_size(report.get("bytes_read", 0))
    looked_at = f"{report.get('packs_checked', 0)} packs and {report.get('manifests_checked', 0)}"
    words = f"Read {read} in {looked_at} manifests"
    skipped = report.get("packs_skipped", 0)
    if skipped:
        words += f", passed over {skipped} packs"
    damaged = [
        f"{report[key]} {name}"
        for key, name in (
            ("chunks_damaged", "chunks"),
            ("packs_damaged", "packs"),
            ("manifests_damaged", "manifests"),
        )
        if report.get(key)
    ]
    if not damaged:
        return (
            f"{words}: all is right." if is_whole(report) else f"{words}: nothing new is damaged."
        )
    repaired = sum(
        report.get(key, 0)
        for key in (
            "chunks_repaired_in_place",
            "chunks_repaired_from_packs",
            "chunks_repaired_from_sources",
        )
    )
    mended = f"{repaired} chunks and {report.get('manifests_repaired', 0)} manifests"
    return f"{words}. Found damaged: {', '.join(damaged)}. Repaired {mended}."


def is_whole(report: Mapping[str, Any]) -> bool:
    """Tell whether no image lacks anything."""
    return not (report.get("images_hit") or report.get("chunks_lost"))


def describe_loss(report: Mapping[str, Any]) -> str:
    """Name the images that lack something, and say what to do."""
    images = report.get("images", [])
    count = report.get("images_hit", len(images))
    names = [f"{each.get('name')} ({each.get('id')})" for each in images[:_MOST_NAMES]]
    if count > len(names):
        names.append(f"{count - len(names)} more")
    are = "1 image is" if count == 1 else f"{count} images are"
    why = f" {images[0].get('why')}" if images else ""
    return to_printable(
        f"Error: {are} damaged and could not be repaired: {', '.join(names)}.{why} Put the damaged"
        " packs back from a backup, or copy the same disks into new images, which heals these;"
        " then scrub again."
    )
