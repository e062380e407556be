"""Clients that ask for copies and follow them, whatever happens to the servers."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import grpc
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import CopyDesktopImageRequest
from yandex.cloud.operation.operation_pb2 import Operation
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest

from chaos.events import Events
from chaos.wishes import Kind, Wish
from parts.official import OfficialClient

T = TypeVar("T")

_CALL_SECONDS = 5.0  # a paused server answers nobody
_AGAIN_SECONDS = 0.2
_LOOK_SECONDS = 0.5
_PASSING = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)


class Clients:
    """One client of each server; a call goes to any of them until it is answered."""

    def __init__(self, profiles: list[Path], *, seed: int) -> None:
        self._clients = [OfficialClient(each) for each in profiles]
        self._chance = random.Random(f"{seed} clients")  # noqa: S311  (test data)
        self.refusals = 0

    def copy(self, wish: Wish, *, until: float) -> Operation:
        """Ask for a copy under the wish's key."""
        request = CopyDesktopImageRequest(
            folder_id=self._clients[0].folder_id,
            image_id=wish.compute_image_id,
            name=wish.name,
        )
        metadata = (("idempotency-key", wish.key),)
        return self.call(
            lambda client: client.images.Copy(request, metadata=metadata, timeout=_CALL_SECONDS),
            until=until,
        )

    def get(self, operation_id: str, *, until: float) -> Operation:
        request = GetOperationRequest(operation_id=operation_id)
        return self.call(
            lambda client: client.operations.Get(request, timeout=_CALL_SECONDS), until=until
        )

    def call(self, call: Callable[[OfficialClient], T], *, until: float) -> T:
        """Call until there is an answer; `until` is an instant of the monotonic clock."""
        while True:
            try:
                return call(self._chance.choice(self._clients))
            except grpc.RpcError as error:
                if error.code() not in _PASSING:
                    raise
                self.refusals += 1
                if time.monotonic() > until:
                    raise AssertionError("No server answers.") from error
            time.sleep(_AGAIN_SECONDS)


class Asking:
    """Asks for the wishes, spread over some time, and notes what is answered."""

    def __init__(self, clients: Clients, told: Events) -> None:
        self.accepted: dict[str, Operation] = {}
        """What was answered to each wish's first call that was answered."""

        self.finished: dict[str, Operation] = {}
        """What was first seen as done, by its id; it must stay so."""

        self._clients = clients
        self._told = told
        self._over = threading.Event()

    def ask(self, wishes: list[Wish], *, seconds: float) -> None:
        """Ask for all of them within so many seconds."""
        began = time.monotonic()
        for number, wish in enumerate(wishes):
            at = began + seconds * number / len(wishes)
            self._over.wait(max(0.0, at - time.monotonic()))
            operation = self._clients.copy(wish, until=time.monotonic() + 120)
            self.accepted[wish.name] = operation
            self._note(operation)
            if wish.kind is Kind.VANISHING:
                wish.file.unlink()

    def follow(self) -> None:
        """Look at operations, one after the other, until `end`: also at those that are done."""
        while not self._over.wait(_LOOK_SECONDS):
            for operation in list(self.accepted.values()):
                if self._over.is_set():
                    return
                self._note(self._clients.get(operation.id, until=time.monotonic() + 120))

    def end(self) -> None:
        self._over.set()

    def _note(self, operation: Operation) -> None:
        seen = self.finished.get(operation.id)
        if seen is not None:
            assert operation == seen, f"acknowledged, and then changed: {seen} -> {operation}"
        elif operation.done:
            self.finished[operation.id] = operation
            how = operation.WhichOneof("result")
            self._told.tell(f"{operation.id} is done: {how} {operation.error.message}".rstrip())
