"""The store's figures and runs as people read them; YAML and JSON are what the server sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from clouddesktop.cli.options import Style
from clouddesktop.cli.render import Columns, print_one, to_table
from clouddesktop.cli.scrub_texts import (
    describe_loss,
    describe_scrub,
    is_whole,
    summarize_scrub,
)
from clouddesktop.cli.texts import format_size, to_printable
from clouddesktop.client.store import Run

_PHASE_WORDS = {
    "contents": "removing contents that no image has",
    "packs": "removing packs that nobody needs",
    "examining": "looking for dead chunks",
    "sweeping": "looking for what crashes left",
    "done": "done",
}
_FAILED = 1
_STEP = 10  # percent between two lines of progress

_FIGURES = {
    "logical_bytes": ("logical", "what all images hold, without zeros"),
    "unique_bytes": ("unique", "the same, each chunk once"),
    "stored_bytes": ("stored", "what lies in the store, compressed"),
    "dead_bytes": ("dead", "of which no image needs: `clouddesktop store gc`"),
}
_FIGURE_COLUMNS: Columns = {"FIGURE": "figure", "SIZE": "size", "WHAT": "what"}
_IMAGE_COLUMNS: Columns = {
    "ID": "id",
    "NAME": "name",
    "DISK": "disk_bytes",
    "LOGICAL": "logical_bytes",
    "STORED": "stored_bytes",
    "EXCLUSIVE": "exclusive_bytes",
    "VERIFIED": "verified_at",
}
_ITEM_COLUMNS: Columns = {"WHAT": "what", "ID": "id", "GIVES BACK": "bytes", "WHY": "reason"}
_PEOPLE = {None, Style.TEXT, Style.TABLE}


def print_stats(stats: Mapping[str, Any], style: Style | None) -> None:
    """Print the store's figures, then each image's."""
    if style not in _PEOPLE:
        print_one(stats, style, {})
        return
    figures = [
        {"figure": name, "size": format_size(stats.get(key, 0)), "what": what}
        for key, (name, what) in _FIGURES.items()
    ]
    ratio = stats.get("ratio")
    figures.append(
        {
            "figure": "ratio",
            "size": "-" if ratio is None else f"{ratio:g}",
            "what": "logical to stored",
        }
    )
    typer.echo(to_table(figures, _FIGURE_COLUMNS))
    typer.echo(f"\nLast collection: {_last_collection(stats.get('last_collection'))}")
    for problem in stats.get("problems", []):
        typer.echo(f"Problem: {to_printable(problem)}")
    images = [_in_words(each) for each in stats.get("images", [])]
    if images:
        typer.echo(f"\n{to_table(images, _IMAGE_COLUMNS)}")


def print_run(run: Run, style: Style | None) -> None:
    """Print what a run came to; of a dry run, what would go and why.

    Raises:
        typer.Exit: the run is a scrub, and images stay damaged.
    """
    report = run.get("report") or {}
    typer.echo(_summarize(run), err=True)
    for problem in report.get("problems", []):
        typer.echo(f"Problem: {to_printable(problem)}", err=True)
    if style in _PEOPLE and run.get("options", {}).get("dry_run") and "items" in report:
        items = [{**each, "bytes": format_size(each.get("bytes", 0))} for each in report["items"]]
        typer.echo(to_table(items, _ITEM_COLUMNS))
        if report.get("items_left_out"):
            typer.echo(f"And {report['items_left_out']} more.")
        return
    lists = {"problems", "images"}
    columns = {name.upper().replace("_", " "): name for name in report if name not in lists}
    if style is Style.TABLE:
        print_one({"id": run["id"], "state": run["state"], **report}, style, columns)
    else:
        print_one(run, style, columns)
    if run.get("kind") == "scrub" and not is_whole(report):
        typer.echo(describe_loss(report), err=True)
        raise typer.Exit(_FAILED)


def describe(run: Run) -> str:
    """Say where a run stands, in few words."""
    if run.get("state") == "waiting":
        return "waiting for its turn"
    progress = run.get("progress") or {}
    if run.get("kind") == "scrub":
        return describe_scrub(progress)
    phase = str(progress.get("phase", "beginning"))
    words = _PHASE_WORDS.get(phase, phase)
    done, left = progress.get("packs_examined", 0), progress.get("packs_to_examine", 0)
    if phase == "examining" and left:
        percent = 100 * done // (done + left) // _STEP * _STEP
        words = f"{words} ({percent} %)"
    return words


def _summarize(run: Run) -> str:
    report = run.get("report") or {}
    if run.get("kind") == "scrub" and run.get("state") == "done":
        return summarize_scrub(report)
    if run.get("kind") != "gc" or run.get("state") != "done":
        return f"The {run.get('kind')} run {run.get('id')} is {run.get('state')}."
    freed = report.get("bytes_freed", 0) - report.get("bytes_written", 0)
    counts = ", ".join(
        f"{report.get(key, 0)} {words}"
        for key, words in (
            ("contents_removed", "contents"),
            ("packs_removed", "packs"),
            ("packs_rewritten", "packs written anew"),
        )
    )
    orphans = report.get("orphan_packs", 0) + report.get("orphan_manifests", 0)
    verb = "Would give back" if run.get("options", {}).get("dry_run") else "Gave back"
    return f"{verb} {format_size(max(freed, 0))}: {counts}, {orphans} left by crashes."


def _in_words(image: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {
        name: format_size(image.get(name, 0))
        for name in ("disk_bytes", "logical_bytes", "stored_bytes", "exclusive_bytes")
    }
    return {**image, **sizes, "verified_at": image.get("verified_at") or "never"}


def _last_collection(run: Run | None) -> str:
    if run is None:
        return "never"
    report = run.get("report") or {}
    freed = max(report.get("bytes_freed", 0) - report.get("bytes_written", 0), 0)
    return f"{run.get('ended_at', '')}, gave back {format_size(freed)}"
