"""System images over HTTP, for administrators: paths of our own, as the API has none for it.

POST   /system-images/v1/images       {"image_id": "…", "name": "…"}: publishes a folder's image
DELETE /system-images/v1/images/{id}  withdraws a system image

Tokens and errors are the API's. Both answer with the system image, as the API's JSON has it.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clouddesktop.api.authentication import Callers
from clouddesktop.api.json_bodies import read_json_object
from clouddesktop.api.messages import image_to_message
from clouddesktop.errors import FieldViolation, InvalidArgumentError
from clouddesktop.iam.access import Caller
from clouddesktop.keeping.system_images import SystemImages

_MOST_CHARACTERS = 50
"""Of an id or a name, as the API has it."""


def system_image_routes(*, images: SystemImages, callers: Callers) -> list[Route]:
    """Build the routes."""
    endpoints = _Endpoints(images=images, callers=callers)
    return [
        Route("/system-images/v1/images", endpoints.publish, methods=["POST"]),
        Route("/system-images/v1/images/{image_id}", endpoints.withdraw, methods=["DELETE"]),
    ]


class _Endpoints:
    def __init__(self, *, images: SystemImages, callers: Callers) -> None:
        self._images = images
        self._callers = callers

    async def publish(self, request: Request) -> Response:
        caller = await self._find_caller(request)
        body = await read_json_object(request, example='{"image_id": "fdv…"}')
        texts = _read_texts(body, image_id="", name="")
        if not texts["image_id"]:
            raise _violated("image_id", "Field is required")
        published = await self._images.publish(**texts, caller=caller)
        return JSONResponse(MessageToDict(image_to_message(published)))

    async def withdraw(self, request: Request) -> Response:
        caller = await self._find_caller(request)
        withdrawn = await self._images.withdraw(request.path_params["image_id"], caller=caller)
        return JSONResponse(MessageToDict(image_to_message(withdrawn)))

    async def _find_caller(self, request: Request) -> Caller:
        return await self._callers.find_sender(request)


def _read_texts(body: Any, **defaults: str) -> dict[str, str]:
    """Take the texts of a body, each of which may be absent."""
    texts = {name: body.get(name, default) for name, default in defaults.items()}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise _violated(name, "Value must be a text")
        if len(text) > _MOST_CHARACTERS:
            raise _violated(name, f"Value must have at most {_MOST_CHARACTERS} characters")
    return texts


def _violated(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError.of_fields([FieldViolation(field=field, description=description)])
