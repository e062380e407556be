"""Publishing and withdrawing system images, which belong to the whole installation."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from google.protobuf.json_format import ParseDict, ParseError
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage

from clouddesktop.client.connection import Connection
from clouddesktop.client.own_paths import open_own_paths
from clouddesktop.errors import DataLossError

_IMAGES = "/system-images/v1/images"


async def publish_image(connection: Connection, image_id: str, *, name: str = "") -> DesktopImage:
    """Make a system image of a folder's image, which stays; give the system image.

    Without a name it has the same one.

    Raises:
        CallError: the server refused, or was out of reach.
    """
    body = {"image_id": image_id} | ({"name": name} if name else {})
    async with open_own_paths(connection) as paths:
        return _to_image(await paths.call("POST", _IMAGES, body))


async def withdraw_image(connection: Connection, image_id: str) -> DesktopImage:
    """Remove a system image, and give it as it was.

    Raises:
        CallError: the server refused, or was out of reach.
    """
    async with open_own_paths(connection) as paths:
        return _to_image(await paths.call("DELETE", f"{_IMAGES}/{quote(image_id, safe='')}"))


def _to_image(answer: Any) -> DesktopImage:
    try:
        return ParseDict(answer, DesktopImage(), ignore_unknown_fields=True)
    except ParseError as error:
        raise DataLossError("The server's answer is no image.") from error
