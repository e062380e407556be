"""What is written to the audit log: changes, refusals, and the ends of operations.

A change that is made, and one that fails once its caller is known, are events. So is every refusal,
of reads too. An event is written before its answer leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.api.audit_events import (
    EventStatus,
    FindCloudId,
    event_type_of,
    make_end_event,
    make_event,
    outcome_of,
    own_event_type,
    parameters_of,
)
from clouddesktop.api.calls import Call, Proceed
from clouddesktop.api.packing import OperationPacker
from clouddesktop.audit import AuditLog
from clouddesktop.catalog.audit import forget_ended, list_ended
from clouddesktop.catalog.engine import Database
from clouddesktop.errors import CloudDesktopError, Code, Failure, OperationCancelledError
from clouddesktop.iam.access import Caller

_REFUSALS = frozenset({Code.UNAUTHENTICATED, Code.PERMISSION_DENIED, Code.RESOURCE_EXHAUSTED})
_MOST_USER_AGENT = 200


class Auditing:
    """Writes events: of calls as an interceptor, of requests to our own paths when told to."""

    def __init__(self, log: AuditLog, *, find_cloud_id: FindCloudId) -> None:
        self._log = log
        self._find_cloud_id = find_cloud_id

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        try:
            answer = await proceed(call)
        except CloudDesktopError as error:
            if _is_noted(error.failure, call.authenticated, is_change=call.method.is_change):
                self._note_call(call, error.failure)
            raise
        except asyncio.CancelledError:
            if call.method.is_change and call.authenticated is not None:
                self._note_call(call, _client_gone())
            raise
        if call.method.is_change:
            self._note_call(call, None, answer)
        return answer

    def note_request(
        self,
        *,
        name: str,
        is_change: bool,
        request_id: str,
        caller: Caller | None,
        peer: str,
        user_agent: str,
        parameters: Mapping[str, Any],
        failure: Failure | None,
    ) -> None:
        """Write the event of a request to the path of ours that `name` serves, if it is one."""
        if not (is_change if failure is None else _is_noted(failure, caller, is_change=is_change)):
            return
        event = make_event(
            event_type=own_event_type(name),
            status=EventStatus.DONE if failure is None else EventStatus.of_failure(failure),
            request_id=request_id,
            caller=caller,
            find_cloud_id=self._find_cloud_id,
            peer=peer,
            user_agent=user_agent[:_MOST_USER_AGENT],
            parameters={} if caller is None else parameters,
            failure=failure,
        )
        self._log.write(event)

    def _note_call(
        self, call: Call, failure: Failure | None, answer: Message | None = None
    ) -> None:
        status = EventStatus.DONE
        outcome: dict[str, Any] = {}
        if isinstance(answer, Operation):
            outcome = outcome_of(answer)
            status = EventStatus.DONE if answer.done else EventStatus.STARTED
        if failure is not None:
            status = EventStatus.of_failure(failure)
        event = make_event(
            event_type=call.method.event_type,
            status=status,
            request_id=call.request_id,
            caller=call.authenticated,
            find_cloud_id=self._find_cloud_id,
            peer=call.peer,
            user_agent=(call.find_metadata("user-agent") or "")[:_MOST_USER_AGENT],
            # Who is not known cannot fill the log with what it sends.
            parameters={} if call.authenticated is None else parameters_of(call.request),
            failure=failure,
            outcome=outcome,
        )
        self._log.write(event)


class OperationEnds:
    """Writes an event for each operation that went on after its call and has ended."""

    def __init__(self, log: AuditLog, *, database: Database, find_cloud_id: FindCloudId) -> None:
        self._log = log
        self._database = database
        self._find_cloud_id = find_cloud_id
        self._packer = OperationPacker()

    def look(self) -> None:
        """Write what has ended since the last look, also before a crash; cheap when nothing has.

        A crash between an event and the note of it writes the event twice, with one `event_id`.
        """
        while ended := self._database.read(list_ended):
            for each in ended:
                event = make_end_event(
                    event_type=event_type_of(self._packer.method_of(each.kind)),
                    operation=self._packer.pack(each),
                    ended_with=each.failure,
                    folder_id=each.folder_id,
                    find_cloud_id=self._find_cloud_id,
                )
                self._log.write(event)
            self._database.write(forget_ended, [each.id for each in ended])


def _is_noted(failure: Failure, caller: Caller | None, *, is_change: bool) -> bool:
    if failure.code in _REFUSALS:
        return True
    if caller is None:
        return False
    # What the caller may not see answers as if it were not there: it is a refusal all the same.
    return is_change or any(not is_granted for *_, is_granted in caller.checks)


def _client_gone() -> Failure:
    return OperationCancelledError(
        "The client has gone, or its deadline has passed.",
        remedy="What the call should do may be done all the same.",
    ).failure
