"""Export: an image's chunks over HTTPS into a local file, verified here, several pieces at a time.

The server sends chunks as they are stored, a third of their plain bytes, and verifies nothing; each
is decoded and compared with its digest where it is written (docs/adr/0011).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from clouddesktop.client.connection import Connection
from clouddesktop.client.conversion import converted
from clouddesktop.client.http import HttpSession, Response, open_http, read_json
from clouddesktop.client.outputs import Gathering, OutputFile, OutputFormat, open_output
from clouddesktop.content import MAX_PLAIN_SIZE
from clouddesktop.errors import DataLossError
from clouddesktop.model.frame import MOST_FRAMES, MOST_SPAN, Frame, parse_frames
from clouddesktop.model.manifest import Extent, chunk_length

_READERS = 4
"""Threads, each with a connection, that fetch, decode, verify and write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was exported: the guest-visible size of the disk, and how much of it is data (bytes)."""

    disk_size: int
    data_size: int


async def export_image(
    connection: Connection,
    image_id: str,
    output: Path,
    *,
    output_format: OutputFormat = OutputFormat.RAW,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Export:
    """Write the image's disk to `output`; `on_progress` gets the bytes done and to do.

    The bytes go to `<output>.partial` beside it, are flushed to the disk and renamed, so `output`
    is whole or not there; after an error or a cancellation the partial file is gone. An existing
    file that is not empty is replaced with `overwrite` only. Formats other than raw are made by the
    local qemu-img, and need room for the raw file too.

    Raises:
        ExportError: the output is no place for a file, exists, or has no room.
        CallError: the server refused, or was out of reach for several attempts.
        DataLossError: a chunk is damaged, or the server's answer makes no sense.
    """
    is_raw = output_format is OutputFormat.RAW
    with open_output(output, overwrite=overwrite, is_final=is_raw) as file:
        with open_http(connection, readers=_READERS) as http:
            download = _Download(http=http, image_id=image_id, file=file)
            export = await download.run(on_progress or (lambda _done, _total: None))
        if is_raw:
            await _to_thread(file.publish, file.partial)
        else:
            async with converted(file.partial, output, output_format) as ready:
                await _to_thread(file.publish, ready)
    return export


async def _to_thread(function: Callable[..., None], *args: Any) -> None:
    """Run in a thread to its end, also when cancelled: the file is closed right after."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where an image has data: extents of whole chunks, ascending; all the rest is zero."""

    disk_size: int
    chunk_size: int
    extents: Sequence[Extent]

    @property
    def data_size(self) -> int:
        return sum(each.length for each in self.extents)

    def length_of(self, chunk: int) -> int:
        """Give the plain bytes of a chunk; only the disk's last may be short."""
        return chunk_length(chunk, disk_size=self.disk_size, chunk_size=self.chunk_size)

    def iter_pieces(self) -> Iterator[Sequence[int]]:
        """Cut the data into the chunk numbers that are asked for together."""
        piece: list[int] = []
        for extent in self.extents:
            for number in range(
                extent.offset // self.chunk_size, -(-extent.end // self.chunk_size)
            ):
                if piece and (len(piece) == MOST_FRAMES or number - piece[0] >= MOST_SPAN):
                    yield piece
                    piece = []
                piece.append(number)
        if piece:
            yield piece


class _Download:
    def __init__(self, *, http: HttpSession, image_id: str, file: OutputFile) -> None:
        self._http = http
        self._path = f"/delivery/v1/images/{quote(image_id, safe='')}"
        self._file = file

    async def run(self, on_progress: Callable[[int, int], None]) -> Export:
        layout = _parse_layout(await self._http.get(f"{self._path}/extents", _read_layout))
        await _to_thread(self._file.set_size, layout.disk_size)
        done_size, data_size = 0, layout.data_size
        on_progress(done_size, data_size)
        pieces = layout.iter_pieces()

        async def fetch_pieces() -> None:
            nonlocal done_size
            for piece in pieces:
                done_size += await self._fetch_piece(layout, piece)
                on_progress(done_size, data_size)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_READERS):
                    group.create_task(fetch_pieces())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None  # one stands for all: they share the trouble
        return Export(disk_size=layout.disk_size, data_size=data_size)

    async def _fetch_piece(self, layout: Layout, piece: Sequence[int]) -> int:
        size = sum(map(layout.length_of, piece))
        while piece:
            piece = piece[await self._fetch_first(layout, piece) :]
        return size

    async def _fetch_first(self, layout: Layout, piece: Sequence[int]) -> int:
        """Fetch as many of the piece's first chunks as one answer has; tell how many."""

        def write(response: Response) -> tuple[int, list[int]]:
            frames = _checked(parse_frames(response.read()), layout, piece)
            with self._file.gathering() as gathering:
                return len(frames), list(_write(frames, layout, gathering))

        span = f"first={piece[0]}&count={piece[-1] - piece[0] + 1}"
        count, damaged = await self._http.get(f"{self._path}/chunks?{span}", write)
        for number in damaged:
            await self._fetch_verified(layout, number)
        return count

    async def _fetch_verified(self, layout: Layout, number: int) -> None:
        """Fetch a chunk that came damaged by the way on which the server checks it.

        So the server gets to know of the damage and says which chunk of which pack it is; or what
        it sends this time is right.
        """
        start, length = number * layout.chunk_size, layout.length_of(number)

        def write(response: Response) -> None:
            plain = response.read(length + 1)
            if len(plain) != length:
                raise DataLossError(f"The server sent another range than chunk {number}.")
            self._file.write_at(start, plain)

        headers = {"range": f"bytes={start}-{start + length - 1}"}
        await self._http.get(f"{self._path}/disk", write, headers=headers)


def _write(frames: Iterable[Frame], layout: Layout, gathering: Gathering) -> Iterator[int]:
    """Write the chunks that are what their digests say; gives the numbers of the others."""
    for each in frames:
        try:
            plain = each.to_plain()
        except DataLossError:
            yield each.number
        else:
            gathering.add(each.number * layout.chunk_size, plain)


def _checked(frames: Iterable[Frame], layout: Layout, piece: Sequence[int]) -> Sequence[Frame]:
    """Make sure that the frames are the first ones of the piece, one at least."""
    found = tuple(frames)
    numbers = [each.number for each in found]
    if (
        not numbers
        or numbers != list(piece[: len(numbers)])
        or any(each.plain_size != layout.length_of(each.number) for each in found)
    ):
        raise DataLossError("The server answered with other chunks than were asked for.")
    return found


def _read_layout(response: Response) -> Any:
    try:
        return read_json(response)
    except ValueError as error:
        raise DataLossError("The server's list of extents makes no sense.") from error


def _parse_layout(answer: Any) -> Layout:
    try:
        layout = Layout(
            disk_size=int(answer["size"]),
            chunk_size=int(answer["chunk_size"]),
            extents=[
                Extent(offset=int(each["offset"]), length=int(each["length"]))
                for each in answer.get("extents", ())
            ],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataLossError("The server's list of extents makes no sense.") from error
    if not 0 < layout.chunk_size <= MAX_PLAIN_SIZE:
        raise DataLossError("The server's size of a chunk makes no sense.")
    before = 0
    for extent in layout.extents:
        if extent.offset < before or extent.length < 1 or extent.end > layout.disk_size:
            raise DataLossError("The server's extents overlap or go past the end of the disk.")
        if extent.offset % layout.chunk_size:
            raise DataLossError("The server's extents are not whole chunks.")
        before = extent.end
    return layout
