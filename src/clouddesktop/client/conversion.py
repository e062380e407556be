"""Other formats than raw: made by the local qemu-img, from a raw file to one that nobody has seen.

Both formats are named, so that nothing is guessed from bytes that a guest wrote.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from clouddesktop.client.outputs import ExportError, OutputFormat

_QEMU_NAMES = {OutputFormat.VHD: "vpc"}
_OPTIONS = {
    # Else QEMU rounds the size to what an old disk's geometry can say.
    OutputFormat.VHD: "subformat=dynamic,force_size=on",
}
_MOST_MEMORY = 2 << 30
"""Bytes of address space: a conversion takes a tenth of it, with its threads' stacks."""

_SAID_CHARACTERS = 1000


@asynccontextmanager
async def converted(raw: Path, output: Path, output_format: OutputFormat) -> AsyncIterator[Path]:
    """Convert a raw disk into a file beside `output`, which is gone at the end unless renamed.

    A cancellation ends qemu-img at once.

    Raises:
        ExportError: qemu-img is missing, or could not do it.
    """
    ready = output.with_name(f"{output.name}.{output_format}.partial")
    try:
        ready.unlink(missing_ok=True)  # what a killed export left, and links to elsewhere
        await _convert(raw, ready, output_format)
        yield ready
    finally:
        ready.unlink(missing_ok=True)


async def _convert(raw: Path, ready: Path, output_format: OutputFormat) -> None:
    options = _OPTIONS.get(output_format)
    command = [
        *("qemu-img", "convert", "-f", "raw", "-O", _QEMU_NAMES.get(output_format, output_format)),
        *(("-o", options) if options else ()),
        # Absolute, since `a:b` alone would be a protocol and a path to qemu-img.
        *(str(each.absolute()) for each in (raw, ready)),
    ]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise ExportError(
            f"The output format {output_format} needs qemu-img, which is not installed here.",
            remedy="Install the Debian package qemu-utils, or export as raw.",
        ) from None
    try:
        with suppress(ProcessLookupError):  # it has ended already
            resource.prlimit(process.pid, resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        _, said = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode:
        words = " ".join(said.decode(errors="replace").split())[:_SAID_CHARACTERS].rstrip(".")
        raise ExportError(
            f"qemu-img could not write the format {output_format}:"
            f" {words or f'exit status {process.returncode}'}.",
            remedy="Look for free space there, or export as raw.",
        )
