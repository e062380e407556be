"""Operations as messages, at each point of their life."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf.empty_pb2 import Empty
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped, unused-ignore]  # ships no types
    RequestInfo,
)
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import (
    DESCRIPTOR,
    CopyDesktopImageMetadata,
    DeleteDesktopImageMetadata,
)

from clouddesktop.api.messages import image_to_message
from clouddesktop.api.packing import OperationPacker, Packing
from clouddesktop.errors import FailedPreconditionError
from clouddesktop.model.image import ImageStatus
from clouddesktop.model.operation import OperationKind
from unit.api.serving import AN_IMAGE, AN_OPERATION, CREATED_AT

METHODS = DESCRIPTOR.services_by_name["DesktopImageService"].methods_by_name


def test_a_running_operation_has_its_metadata_and_no_result() -> None:
    """The new image's id is there from the start."""
    message = OperationPacker().pack(AN_OPERATION)
    assert message.id == AN_OPERATION.id
    assert message.description == AN_OPERATION.description
    assert message.created_at.ToDatetime(tzinfo=CREATED_AT.tzinfo) == CREATED_AT
    assert message.modified_at == message.created_at
    assert not message.done
    assert message.WhichOneof("result") is None
    assert message.metadata.type_url == (
        "type.googleapis.com/yandex.cloud.clouddesktop.v1.api.CopyDesktopImageMetadata"
    )
    metadata = CopyDesktopImageMetadata()
    assert message.metadata.Unpack(metadata)
    assert metadata.image_id == AN_OPERATION.resource_id


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.proves("operation.early-error")
def test_a_failure_shows_as_soon_as_it_is_known(*, done: bool) -> None:
    """Before the rollback is over too; its id finds it in the log."""
    failure = FailedPreconditionError("It is locked.", remedy="Unlock it.").failure
    message = OperationPacker().pack(replace(AN_OPERATION, done=done, failure=failure))
    assert message.done == done
    assert message.WhichOneof("result") == "error"
    assert message.error.code == 9
    assert message.error.message == "It is locked. Unlock it."
    infos = [RequestInfo() for each in message.error.details if each.Is(RequestInfo.DESCRIPTOR)]
    assert len(infos) == 1


def test_a_finished_copy_answers_with_its_image() -> None:
    """Under the type that the API names."""
    message = OperationPacker().pack(replace(AN_OPERATION, done=True, result=AN_IMAGE.to_record()))
    assert message.WhichOneof("result") == "response"
    assert message.response.type_url == (
        "type.googleapis.com/yandex.cloud.clouddesktop.v1.api.DesktopImage"
    )
    image = DesktopImage()
    assert message.response.Unpack(image)
    assert image == image_to_message(AN_IMAGE)


def test_a_result_becomes_the_same_bytes_in_every_process() -> None:
    """Its labels are in order: a client may compare what it was told by two servers."""
    image = replace(AN_IMAGE, labels={f"label{number}": "value" for number in range(8)})
    message = OperationPacker().pack(replace(AN_OPERATION, done=True, result=image.to_record()))
    ordered = image_to_message(image).SerializeToString(deterministic=True)
    assert message.response.value == ordered


def test_the_types_come_from_the_method_s_option() -> None:
    """Another method, other types: nothing in the packer knows about Copy."""
    packer = OperationPacker({OperationKind.COPY_IMAGE: Packing(METHODS["Delete"])})
    message = packer.pack(replace(AN_OPERATION, done=True))
    metadata = DeleteDesktopImageMetadata()
    assert message.metadata.Unpack(metadata)
    assert metadata.image_id == AN_OPERATION.resource_id
    assert message.response.Is(Empty.DESCRIPTOR)


@pytest.mark.parametrize("name", ["Copy", "CopyFromDesktop", "Update", "Delete"])
def test_every_operation_of_the_service_can_be_packed(name: str) -> None:
    """All types that its options name are found."""
    packer = OperationPacker({OperationKind.COPY_IMAGE: Packing(METHODS[name])})
    assert packer.pack(replace(AN_OPERATION, done=True, result=AN_IMAGE.to_record())).HasField(
        "response"
    )


def test_a_method_without_the_option_is_refused_at_the_start() -> None:
    """Not at the first call."""
    with pytest.raises(LookupError, match=r"DesktopImageService\.Get"):
        OperationPacker({OperationKind.COPY_IMAGE: Packing(METHODS["Get"])})


@pytest.mark.proves("operation.result")
def test_done_without_a_result_is_a_fault_of_ours() -> None:
    """It must not go out as an operation that breaks the API's promise."""
    with pytest.raises(AssertionError, match="without a result"):
        OperationPacker().pack(replace(AN_OPERATION, done=True))


@pytest.mark.parametrize("status", ImageStatus)
def test_every_status_has_the_api_s_number(status: ImageStatus) -> None:
    """The two enumerations agree by name."""
    message = image_to_message(replace(AN_IMAGE, status=status))
    assert DesktopImage.Status.Name(message.status) == status.name
