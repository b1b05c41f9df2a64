"""The call that is in progress, as far as its audit row is concerned.

The interceptor of gRPC, and analytics for its own methods, opens an `AuditedCall` for each call that leaves a row.
A method reaches it with `current_call` and needs it seldom: `Outbox.record` writes the row.
"""

import operator
import re
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import uuid4

from google.api import annotations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.message import Message

from countline.v1 import audit_pb2
from countline_common.audit.differences import changes
from countline_common.redaction import redact
from countline_common.times import to_timestamp

OK: Final = "OK"
UNFINISHED: Final = "UNFINISHED"
SYSTEM: Final = "system"
"""Stands for the method of what a service does without a call, and for who does it."""
LONGEST_RESOURCE: Final = 300
LONGEST_PROBLEM: Final = 500
_PREFIX: Final = "/api/v1/"
_PARAMETER: Final = re.compile(r"\{([\w.]+)(?:=[^{}]*)?\}")


@dataclass(slots=True)
class AuditedCall:
    """What is known so far of a call that leaves a row."""

    method: str
    """Such as `countline.v1.CameraService/UpdateCamera`."""
    request_id: str = ""
    address: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    row_id: str = field(default_factory=lambda: uuid4().hex)
    subject: str = ""
    """Id of the caller; empty while the caller is unknown."""
    name: str = ""
    on_behalf_of: tuple[str, str] = ("", "")
    """Id and name of the user for whom the caller acts."""
    resource: str = ""
    written: bool = False
    """The row is complete in the transaction of the change. That transaction may still fail."""
    begun: bool = False
    """The row was written as an unfinished one."""
    elsewhere: bool = False
    """Another process answers the call, and writes the row."""
    before: Message | None = None
    after: Message | None = None

    def row(self, outcome: str, problem: str = "") -> audit_pb2.AuditRow:
        """Return the row as of now."""
        found, omitted = changes(self.before, self.after)
        row = audit_pb2.AuditRow(
            row_id=self.row_id,
            at=to_timestamp(self.at.timestamp()),
            actor=audit_pb2.AuditActor(subject=self.subject, name=self.name),
            address=self.address,
            method=self.method,
            resource=redact(self.resource)[:LONGEST_RESOURCE],
            outcome=outcome,
            problem=redact(problem)[:LONGEST_PROBLEM],
            request_id=self.request_id,
            changes=found,
            omitted_changes=omitted,
        )
        if any(self.on_behalf_of):
            row.on_behalf_of.subject, row.on_behalf_of.name = self.on_behalf_of
        return row


class AuditTrail(Protocol):
    """Completes the rows of calls; each service has one."""

    async def finish(self, call: AuditedCall, outcome: str, problem: str) -> None:
        """Write the row of a call that has ended, unless it is written."""
        ...


_current: ContextVar[AuditedCall | None] = ContextVar("audited_call", default=None)


def current_call() -> AuditedCall | None:
    """Return the audited call in progress; None outside of one."""
    return _current.get()


def set_current_call(call: AuditedCall | None) -> None:
    """Make a call the current one of this task."""
    _current.set(call)


def about(resource: str, subject: str = "", name: str = "") -> None:
    """Say what the current call concerns, and who calls if only the method finds out, as `Login` does."""
    if (call := _current.get()) is not None:
        call.resource = resource
        if subject:
            call.subject, call.name = subject, name


def resource_of(method: str, request: Any) -> str:
    """Return what a request names: the REST path of its method up to the last parameter, such as `cameras/door`.

    Args:
        method: such as `countline.v1.CameraService/UpdateCamera`.
        request: the message; None for a stream.
    """
    service, _, name = method.partition("/")
    try:
        options = descriptor_pool.Default().FindMethodByName(f"{service}.{name}").GetOptions()
    except KeyError:
        return ""
    rule = options.Extensions[annotations_pb2.http]
    path = str(getattr(rule, rule.WhichOneof("pattern") or "get")).removeprefix(_PREFIX)
    if not _PARAMETER.search(path):
        return path
    if not isinstance(request, Message):
        return path.partition("/{")[0]
    end = [match.end() for match in _PARAMETER.finditer(path)][-1]
    return _PARAMETER.sub(lambda found: str(operator.attrgetter(found[1])(request)), path[:end])
