"""The server as clients meet it: metadata, errors, deadlines, health, reflection, TLS."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import structlog
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped, unused-ignore]  # ships no types
    BadRequest,
    ErrorInfo,
    RequestInfo,
)
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    CopyDesktopImageRequest,
    CopyFromDesktopRequest,
    GetDesktopImageRequest,
)
from yandex.cloud.clouddesktop.v1.desktop_service_pb2 import GetDesktopRequest
from yandex.cloud.clouddesktop.v1.desktop_service_pb2_grpc import DesktopServiceStub

from clouddesktop.api.calls import Call
from clouddesktop.api.interceptors import CallLimit, TooManyCallsError
from clouddesktop.api.server import GrpcServer
from clouddesktop.app.tls import prepare_tls
from clouddesktop.errors import FailedPreconditionError, UnavailableError
from unit.api.serving import (
    AN_IMAGE,
    FakeCopies,
    Served,
    details_of,
    make_api,
    make_database,
    make_tokens,
    metadata_of,
)

COPY = CopyDesktopImageRequest(folder_id="b1gfolder", name="x", image_id="debian12")
KEY = "0B5C9B5E-55A2-4DFB-8D6E-6D4B0E3F4F11"


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """The events that are logged."""
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as events:
        yield events


async def failing(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def raw_method(served: Served, path: str) -> Any:
    return cast("Any", served.channel).unary_unary(path)


@pytest.mark.proves("errors.request-ids", of=["DesktopImageService/Copy"])
async def test_every_answer_carries_the_ids_of_its_request(served: Served, log: list[Any]) -> None:
    """In the headers, in the trailers and in the log, with the ids that the client gave."""
    served.add_images(AN_IMAGE)
    call = served.images.Get(
        GetDesktopImageRequest(image_id=AN_IMAGE.id),
        metadata=(
            served.authorization,
            ("x-client-request-id", "mine"),
            ("x-client-trace-id", "t" * 500),
        ),
    )
    headers = {str(key): value for key, value in await call.initial_metadata()}
    await call
    trailers = {str(key): value for key, value in await call.trailing_metadata()}
    assert headers["x-request-id"] == trailers["x-request-id"]
    assert str(uuid.UUID(str(headers["x-request-id"]))) == headers["x-request-id"]
    assert headers["x-server-trace-id"] == trailers["x-server-trace-id"]
    (line,) = log
    assert line["event"] == "call"
    assert line["method"].endswith("DesktopImageService/Get")
    assert line["code"] == "OK"
    assert line["request_id"] == headers["x-request-id"]
    assert line["subject"] == "ajeadmin"
    assert line["client_request_id"] == "mine"
    assert line["client_trace_id"] == "t" * 100
    assert served.token not in str(log)


@pytest.mark.proves("errors.status", of=["DesktopImageService/Copy"])
async def test_an_error_of_ours_comes_with_all_its_details(served: Served) -> None:
    """Code, message with the remedy, reason, facts, and the ids in metadata and details."""
    served.copies.answer = FailedPreconditionError(
        "The disk is not safe.", remedy="Flatten it.", facts={"resource_id": "debian12"}
    )
    error = await failing(served.call(served.images.Copy, COPY))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "The disk is not safe. Flatten it."
    info, request = details_of(error, ErrorInfo, RequestInfo)
    assert info.domain == "clouddesktop"
    assert info.reason == "FAILED_PRECONDITION"
    assert dict(info.metadata) == {"resource_id": "debian12", "remedy": "Flatten it."}
    assert request.request_id == metadata_of(error)["x-request-id"]
    assert metadata_of(error)["x-server-trace-id"]


@pytest.mark.parametrize("cause", [RuntimeError("secret text"), KeyError("secret text")])
async def test_what_is_not_ours_loses_its_text_but_not_its_id(
    served: Served, log: list[Any], cause: Exception
) -> None:
    """INTERNAL without a word of the cause; the log has the traceback once, under that id."""
    served.copies.answer = cause
    error = await failing(served.call(served.images.Copy, COPY))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret text" not in str(error)
    (request,) = details_of(error, RequestInfo)
    logged = [each for each in log if each.get("exc_info")]
    assert len(logged) == 1
    assert logged[0]["request_id"] == request.request_id
    assert [each["code"] for each in log if each["event"] == "call"] == ["INTERNAL"]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "TOKEN_MISSING"),
        ((("authorization", ""),), "TOKEN_MISSING"),
        ((("authorization", "Basic abc"),), "TOKEN_MISSING"),
        ((("authorization", "Bearer"),), "TOKEN_MISSING"),
        ((("authorization", "Bearer "),), "TOKEN_MISSING"),
        ((("authorization", "Bearer t1.a.b"),), "TOKEN_INVALID"),
    ],
)
async def test_without_a_good_token_nothing_happens(
    served: Served, metadata: tuple[tuple[str, str], ...], reason: str
) -> None:
    """UNAUTHENTICATED, each with its reason, and no copy begins."""
    error = await failing(served.call(served.images.Copy, COPY, *metadata, authorized=False))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert details_of(error, ErrorInfo)[0].reason == reason
    assert served.copies.started == []


async def test_the_scheme_may_be_written_in_any_case(served: Served) -> None:
    """`bearer` is as good as `Bearer`."""
    header = ("authorization", f"bearer {served.token}")
    await served.call(served.images.Copy, COPY, header, authorized=False)


async def test_validation_comes_before_authentication_and_names_everything(
    served: Served,
) -> None:
    """Also the idempotency key, together with the fields."""
    request = CopyDesktopImageRequest(name="n" * 51)
    error = await failing(
        served.call(served.images.Copy, request, ("idempotency-key", "7"), authorized=False)
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == (
        "Validation error:\n"
        "folder_id: Field is required\n"
        "name: Length must be less than or equal to 50\n"
        "image_id: Field is required\n"
        "idempotency-key: Value must be a UUID"
    )
    (bad,) = details_of(error, BadRequest)
    assert [each.field for each in bad.field_violations] == [
        "folder_id",
        "name",
        "image_id",
        "idempotency-key",
    ]


@pytest.mark.parametrize("key", ["", "7", "{0b5c9b5e-55a2-4dfb-8d6e-6d4b0e3f4f11}", KEY + "0"])
async def test_an_idempotency_key_is_a_uuid_for_reads_too(served: Served, key: str) -> None:
    """Clients of the public cloud send keys with every call; a bad one is refused everywhere."""
    error = await failing(
        served.call(
            served.images.Get, GetDesktopImageRequest(image_id="x"), ("idempotency-key", key)
        )
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_idempotency_key_goes_with_a_digest_of_the_request(served: Served) -> None:
    """Equal for equal requests, whatever the order of the labels; another for another request."""
    header = ("idempotency-key", KEY)
    for labels, name in (({"a": "1", "b": "2"}, "x"), ({"b": "2", "a": "1"}, "x"), ({}, "y")):
        request = CopyDesktopImageRequest(
            folder_id="f", name=name, image_id="debian12", labels=labels
        )
        await served.call(served.images.Copy, request, header)
    await served.call(served.images.Copy, COPY)
    first, second, third, without = (each[2] for each in served.copies.started)
    assert first is not None
    assert first.key == KEY.lower()
    assert len(first.request_digest) == 32
    assert first == second
    assert third is not None
    assert third.request_digest != first.request_digest
    assert without is None


@pytest.mark.parametrize("count", [1, 20, 64, 500])
async def test_an_error_fits_into_metadata_however_much_is_wrong(
    served: Served, count: int
) -> None:
    """A default client gets the status itself, not a complaint about too much metadata."""
    labels = {f"Ü{number:04}" + "ü" * 300: "Ü" * 100 for number in range(count)}
    request = CopyDesktopImageRequest(folder_id="f", name="n", image_id="i", labels=labels)
    error = await failing(served.call(served.images.Copy, request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith("Validation error:\nlabels[")
    bad, info = details_of(error, BadRequest, RequestInfo)
    assert bad.field_violations
    assert info.request_id


@pytest.mark.proves("wire.robust", of=["DesktopImageService/Copy"])
async def test_bytes_that_are_no_request_are_an_invalid_argument(served: Served) -> None:
    """A broken encoding and text that is not UTF-8 too."""
    method = raw_method(served, "/yandex.cloud.clouddesktop.v1.api.DesktopImageService/Get")
    for raw in (b"\xff\xff\xff", b"\x0a\x02\xff\xfe"):
        error = await failing(method(raw, metadata=(served.authorization,)))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "GetDesktopImageRequest" in (error.details() or "")


async def test_a_request_that_is_too_large_is_refused(served: Served) -> None:
    """Before it is read."""
    method = raw_method(served, "/yandex.cloud.clouddesktop.v1.api.DesktopImageService/Get")
    error = await failing(method(bytes(2 << 20)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.proves("wire.not-served")
async def test_what_is_not_served_says_so_with_its_name(served: Served) -> None:
    """Methods of served services, other services of the API, and nonsense; without a token too."""
    desktops: Any = DesktopServiceStub(served.channel)
    calls = {
        "yandex.cloud.clouddesktop.v1.api.DesktopImageService.CopyFromDesktop": (
            served.images.CopyFromDesktop(CopyFromDesktopRequest())
        ),
        "yandex.cloud.clouddesktop.v1.api.DesktopService.Get": desktops.Get(GetDesktopRequest()),
        "no.such.Service.Method": raw_method(served, "/no.such.Service/Method")(b"x"),
    }
    for name, call in calls.items():
        error = await failing(call)
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert f"The method {name} is not served." in (error.details() or "")
        info, request = details_of(error, ErrorInfo, RequestInfo)
        assert info.reason == "UNIMPLEMENTED"
        assert info.metadata["method"] == name
        assert request.request_id == metadata_of(error)["x-request-id"]


async def test_a_deadline_cancels_the_work(served: Served, log: list[Any]) -> None:
    """The client gets DEADLINE_EXCEEDED, the method CancelledError, the log a plain line.

    Whether gRPC or the server's own clock is first does not matter.
    """
    served.copies.answer = None
    error = await failing(served.images.Copy(COPY, metadata=(served.authorization,), timeout=0.2))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(served.copies.was_cancelled.wait(), 10)
    await served.server.stop(0)
    (line,) = (each for each in log if each["event"] == "call")
    assert line["code"] in ("CANCELLED", "DEADLINE_EXCEEDED")
    assert not [each for each in log if each.get("exc_info")]


async def test_a_client_that_leaves_cancels_the_work(served: Served) -> None:
    """Cancelling the call reaches the method."""
    served.copies.answer = None
    call = served.images.Copy(COPY, metadata=(served.authorization,))
    await asyncio.wait_for(served.copies.is_waiting.wait(), 10)
    call.cancel()
    await asyncio.wait_for(served.copies.was_cancelled.wait(), 10)


async def test_stopping_lets_calls_end_within_the_grace(served: Served) -> None:
    """New calls are refused meanwhile; what is not over in time is cancelled."""
    served.copies.answer = None
    call = served.images.Copy(COPY, metadata=(served.authorization,))
    await asyncio.wait_for(served.copies.is_waiting.wait(), 10)
    await served.server.stop(0.2)
    await asyncio.wait_for(served.copies.was_cancelled.wait(), 10)
    error = await failing(call)
    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    await served.server.stop(0)


async def test_health_and_reflection_answer_without_a_token(served: Served) -> None:
    """The standard services, for the whole server and for each service."""
    health: Any = HealthStub(served.channel)
    name = "yandex.cloud.clouddesktop.v1.api.DesktopImageService"
    for service in ("", name):
        answer = await health.Check(HealthCheckRequest(service=service))
        assert answer.status == HealthCheckResponse.SERVING
    reflection: Any = ServerReflectionStub(cast("grpc.Channel", served.channel))
    requests = [
        ServerReflectionRequest(list_services=""),
        ServerReflectionRequest(file_containing_symbol=name),
    ]
    listed, file = [each async for each in reflection.ServerReflectionInfo(iter(requests))]
    assert {each.name for each in listed.list_services_response.service} == {
        name,
        "yandex.cloud.operation.OperationService",
        "yandex.cloud.endpoint.ApiEndpointService",
        "yandex.cloud.iam.v1.IamTokenService",
        "yandex.cloud.iam.v1.RoleService",
        "yandex.cloud.quotamanager.v1.QuotaLimitService",
        "yandex.cloud.iam.v1.KeyService",
        "yandex.cloud.iam.v1.ServiceAccountService",
        "yandex.cloud.compute.v1.ImageService",
        "yandex.cloud.resourcemanager.v1.CloudService",
        "yandex.cloud.resourcemanager.v1.FolderService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert b"CopyDesktopImageRequest" in file.file_descriptor_response.file_descriptor_proto[0]


async def test_an_address_in_use_is_an_error_that_names_it(served: Served) -> None:
    """Two servers never share a port by halves."""
    second = GrpcServer(
        address=f"127.0.0.1:{served.port}",
        credentials=None,
        api=make_api(database=served.database, copies=served.copies, tokens=served.tokens),
    )
    with pytest.raises(UnavailableError, match=f"127.0.0.1:{served.port}"):
        await second.start()
    await second.stop(0)


async def test_it_speaks_tls(tmp_path: Path) -> None:
    """With a certificate that clients verify; a client without the authority is turned away."""
    files = prepare_tls(tmp_path / "tls", names=("localhost", "127.0.0.1"))
    credentials = grpc.ssl_server_credentials(
        [(files.key.read_bytes(), files.certificate.read_bytes())]
    )
    database = make_database(tmp_path)
    server = GrpcServer(
        address="127.0.0.1:0",
        credentials=credentials,
        api=make_api(database=database, copies=FakeCopies(), tokens=make_tokens()),
    )
    port = await server.start()
    try:
        for trusted, good in ((files.ca.read_bytes(), True), (None, False)):
            channel_credentials = grpc.ssl_channel_credentials(trusted)
            async with grpc.aio.secure_channel(f"localhost:{port}", channel_credentials) as channel:
                health: Any = HealthStub(channel)
                if good:
                    await health.Check(HealthCheckRequest(), timeout=20)
                else:
                    error = await failing(health.Check(HealthCheckRequest(), timeout=20))
                    assert error.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        await server.stop(0)
        database.close()


async def test_many_calls_at_a_time_keep_their_ids_apart(served: Served, log: list[Any]) -> None:
    """Each line of the log has the id that its own caller got."""
    served.copies.answer = RuntimeError("broken")
    errors = await asyncio.gather(
        *(failing(served.call(served.images.Copy, COPY)) for _ in range(50))
    )
    ids = [str(metadata_of(each)["x-request-id"]) for each in errors]
    assert len(set(ids)) == 50
    for event in ("call", "call failed"):
        assert sorted(each["request_id"] for each in log if each["event"] == event) == sorted(ids)


async def test_streams_that_never_end_do_not_use_up_the_calls(served: Served) -> None:
    """Watching the health is open to all: it must not keep anybody from calling."""
    health: Any = HealthStub(served.channel)
    watching = [health.Watch(HealthCheckRequest()) for _ in range(50)]
    for each in watching:
        assert (await each.read()).status == HealthCheckResponse.SERVING
    served.add_images(AN_IMAGE)
    await served.call(served.images.Get, GetDesktopImageRequest(image_id=AN_IMAGE.id))
    for each in watching:
        each.cancel()


async def test_calls_beyond_the_bound_are_told_to_come_back() -> None:
    """With the time after which to try again; calls within the bound go on."""
    limit = CallLimit(1)
    let_go = asyncio.Event()

    async def work(_call: Call) -> Message:
        await let_go.wait()
        return Empty()

    call = cast("Call", None)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(limit(call, work))
        await asyncio.sleep(0)
        with pytest.raises(TooManyCallsError) as caught:
            await limit(call, work)
        assert caught.value.retry_after_seconds == 1
        let_go.set()
    assert running.result() == Empty()
    assert await limit(call, work) == Empty()


async def test_health_takes_bytes_that_are_no_request(served: Served) -> None:
    """INVALID_ARGUMENT without a word of the insides."""
    for kind, method in (("unary_unary", "Check"), ("unary_stream", "Watch")):
        send: Any = getattr(served.channel, kind)(f"/grpc.health.v1.Health/{method}")
        call = send(b"\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call if kind == "unary_unary" else call.read())
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "DecodeError" not in str(caught.value.details())
