"""Whatever comes by gRPC, the server answers with a status of its own choice and goes on.

`FUZZ_SEED` repeats a run, `FUZZ_CALLS` makes it longer.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import ListDesktopImagesRequest

from clouddesktop.catalog.engine import Database
from contract.odd_messages import make_message, spoil
from parts.disks import MIB, random_bytes, write_raw
from parts.official import OfficialClient
from parts.rest import RestClient
from parts.server import ServerProcess
from unit.api.serving import FakeCopies, make_api, make_tokens

SEED = int(os.environ.get("FUZZ_SEED", secrets.randbits(32)))  # noqa: TID251  (test set-up)
CALLS = int(os.environ.get("FUZZ_CALLS", "2400"))  # noqa: TID251  (the same)
LANES = 8
MOST_SECONDS = 60
"""For one call; none of these has anything to wait for."""
FORBIDDEN = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
}
SERVED: list[tuple[str, type[Message]]] = [
    (method.path, method.request_class)
    for method in make_api(
        database=cast("Database", None), copies=FakeCopies(), tokens=make_tokens()
    ).methods
    if method.request_class is not None
]
NOWHERE = (
    "/yandex.cloud.clouddesktop.v1.api.DesktopService/List",
    "/yandex.cloud.clouddesktop.v1.api.DesktopImageService/Nothing",
    "/no.such.Service/Get",
    "/",
    "//",
    "/a/b/c",
    "/grpc.reflection.v1alpha.ServerReflection/Nothing",
)
Metadata = tuple[tuple[str, str | bytes], ...]


@pytest.fixture
def target(server: ServerProcess, sources_dir: Path) -> Iterator[OfficialClient]:
    """A server to throw things at; afterwards it must answer as before, and its log be clean."""
    write_raw(sources_dir / "golden.raw", size=2 * MIB, data={0: random_bytes(MIB, seed=1)})
    client = OfficialClient(server.profile)
    yield client
    assert server.process is not None
    assert server.process.poll() is None
    check_well(OfficialClient(server.profile))
    log = server.log.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") - 1000 :][:5000]


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311  (no secrets: a run that can be repeated)


def check_well(client: OfficialClient) -> None:
    """Copy, list and delete an image."""
    name = f"after {uuid.uuid4()}"[:50]
    operation = client.wait(client.copy("golden", name).id)
    request = ListDesktopImagesRequest(folder_id=client.folder_id, filter=f'name="{name}"')
    (image,) = client.images.List(request).desktop_images
    assert image.name == name
    client.wait(client.delete_copied(operation).id)


def odd_metadata(random: Random, token: str) -> Metadata:
    """Mostly the token; sometimes keys and values that other clients would never send."""
    good = ("authorization", f"Bearer {token}")
    bad = random.choice(
        ("", "Bearer", "Bearer ", f"Basic {token}", token[:-1], "Bearer " + "x" * 4000)
    )
    uuid_text = str(uuid.UUID(int=random.getrandbits(128)))
    choices: tuple[Metadata, ...] = (
        (good,),
        (good, ("idempotency-key", uuid_text)),
        (good, ("idempotency-key", uuid_text), ("idempotency-key", uuid_text[::-1])),
        (good, ("idempotency-key", "k" * random.choice((1, 37, 3000)))),
        (good, ("x-client-request-id", "i" * random.choice((1, 3000)))),
        (good, ("x-client-trace-id", " \\ % \x7e"), ("x-request-id", uuid_text)),
        (good, ("anything-bin", random.randbytes(50)), ("authorization-bin", b"\xff\x00")),
        (("authorization", bad),),
        (good, ("authorization", bad)),
        (),
        (good, *((f"k{number}", "v" * 30) for number in range(60))),
        (good, ("enormous", "v" * random.choice((8000, 100_000)))),
    )
    return random.choice(choices[:2] if random.random() < 0.5 else choices)


class Thrower:
    """Sends what it is given, and notes the codes that come back."""

    def __init__(self, client: OfficialClient, token: str) -> None:
        self._client = client
        self.token = token
        self.codes: Counter[str] = Counter()

    async def throw_all(self) -> None:
        """Work in lanes, each with a connection and a part of the calls."""
        async with asyncio.TaskGroup() as group:
            for lane in range(LANES):
                group.create_task(self._work(seeded(SEED + lane)))

    async def _work(self, random: Random) -> None:
        credentials = grpc.ssl_channel_credentials(self._client.root_certificates)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_metadata_size", 1 << 20)]
        async with grpc.aio.secure_channel(
            self._client.endpoint, credentials, options=options
        ) as channel:
            for _ in range(CALLS // LANES):
                path, kind = random.choice(SERVED)
                raw = make_message(kind, random).SerializeToString()
                if random.random() < 0.7:
                    raw = spoil(raw, random)
                if random.random() < 0.05:
                    path = random.choice(NOWHERE)
                await self.throw(channel, path, raw, odd_metadata(random, self.token))

    async def throw(
        self, channel: grpc.aio.Channel, path: str, raw: bytes, metadata: Metadata
    ) -> None:
        """Make one call; any status is good, but those that say that the server is not well."""
        call: Any = channel.unary_unary(path)
        code, words = grpc.StatusCode.OK, ""
        try:
            await call(raw, metadata=metadata, timeout=MOST_SECONDS)
        except grpc.aio.AioRpcError as error:
            code, words = error.code(), error.details() or ""
        sent = f"{path} {raw[:200]!r} {[(key, value[:60]) for key, value in metadata]}"
        assert code not in FORBIDDEN, f"FUZZ_SEED={SEED}: {code}: {words}: {sent}"
        self.codes[code.name] += 1


def token_of(server: ServerProcess) -> str:
    with RestClient(server.profile) as rest:
        return rest.token


@pytest.mark.proves("wire.robust")
async def test_nothing_that_comes_by_grpc_upsets_the_server(
    target: OfficialClient, server: ServerProcess
) -> None:
    """Spoiled bytes, odd values, huge fields, odd metadata and paths, in eight connections."""
    print(f"FUZZ_SEED={SEED}")  # noqa: T201  (to repeat the run)
    thrower = Thrower(target, token_of(server))
    await thrower.throw_all()
    print(dict(thrower.codes))  # noqa: T201  (what became of the calls)
    reached = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNAUTHENTICATED", "UNIMPLEMENTED"}
    assert reached <= set(thrower.codes), thrower.codes


def outcome(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """Make a call; tell how it ended."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


@pytest.mark.proves("wire.robust")
def test_no_message_of_a_known_type_upsets_the_server(
    target: OfficialClient, server: ServerProcess
) -> None:
    """Every method, with what hypothesis makes of its request; the folder is a real one."""
    metadata = (("authorization", f"Bearer {token_of(server)}"),)
    images = [each for each in SERVED if "DesktopImageService" in each[0]]
    with target.plain_channel() as channel:

        @settings(max_examples=100)
        @given(method=st.sampled_from([*SERVED, *images]), random=st.randoms())
        def check(method: tuple[str, type[Message]], random: Random) -> None:
            path, kind = method
            texts = (target.folder_id,) * 8 if method in images else ()
            raw = make_message(kind, random, texts=texts).SerializeToString()
            call: Any = channel.unary_unary(path)
            code, words = outcome(partial(call, raw, metadata=metadata, timeout=MOST_SECONDS))
            assert code not in FORBIDDEN, (path, code, words, raw)

        check()


def test_what_is_no_grpc_at_all_upsets_nobody(target: OfficialClient) -> None:
    """HTTP/1.1, wrong frames, halves of requests and noise within TLS, and noise instead of it."""
    print(f"FUZZ_SEED={SEED}")  # noqa: T201  (to repeat the run)
    random = seeded(SEED)
    host, _, port = target.endpoint.rpartition(":")
    context = ssl.create_default_context(cadata=target.root_certificates.decode())
    context.set_alpn_protocols(["h2"])
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    no_settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    for _ in range(60):
        noise = random.randbytes(random.randrange(1, 400))
        sent = random.choice(
            (
                b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
                b"POST /a/b HTTP/1.1\r\ncontent-type: application/json\r\n\r\n{}",
                noise,
                preface[: random.randrange(len(preface))],
                preface + noise,
                preface + no_settings + noise,
                preface + no_settings + b"\xff\xff\xff\x01\x05\x00\x00\x00\x01" + noise,
            )
        )
        with socket.create_connection((host, int(port)), timeout=20) as plain:
            if random.random() < 0.2:
                plain.sendall(noise)
                continue
            with context.wrap_socket(plain, server_hostname=host) as secure:
                secure.sendall(sent)
