"""Errors across gRPC: the server maps a `CountlineError` to a status with details, and the client maps it back.

The status contains a `google.rpc.ErrorInfo` (reason, domain, the hint), a `BadRequest` with each wrong field,
a `RetryInfo` with the time after which the call may be repeated, and a `RequestInfo` with the id under which the server
logged the call.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from countline_common.errors import BY_CODE, CountlineError, FieldProblem, InternalError
from countline_common.grpc.channels import proxy_remark

DOMAIN: Final = "countline"
HINT_KEY: Final = "hint"
LONGEST_TEXT_BYTES: Final = 500
MOST_PROBLEM_BYTES: Final = 2000
"""gRPC replaces a status of more than 8 KB of metadata by RESOURCE_EXHAUSTED. It writes bytes as base64, and each byte
of a message beyond ASCII as three."""


_Detail = TypeVar("_Detail", bound=Message)


def to_status(error: CountlineError, request_id: str = "") -> status_pb2.Status:
    """The error as a `google.rpc.Status`, details included."""
    hint = {HINT_KEY: _cut(error.hint)} if error.hint else {}
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=_reason(error), domain=DOMAIN, metadata=hint)]
    if error.fields:
        details.append(_bad_request(error.fields))
    if error.retry_after_s is not None:
        details.append(_retry_info(error.retry_after_s))
    if request_id:
        details.append(error_details_pb2.RequestInfo(request_id=request_id))
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.code), message=_cut(error.message), details=[_pack(detail) for detail in details]
    )


def _reason(error: CountlineError) -> str:
    """`NotFoundError` becomes `NOT_FOUND`: the words of ErrorInfo are upper-case and have no ending."""
    name = type(error).__name__.removesuffix("Error")
    return "".join(f"_{letter}" if letter.isupper() and i else letter for i, letter in enumerate(name)).upper()


def _bad_request(problems: Sequence[FieldProblem]) -> error_details_pb2.BadRequest:
    """The problems that fit into the status, in order."""
    bad = error_details_pb2.BadRequest()
    for problem in problems:
        bad.field_violations.append(_violation(problem))
        if bad.ByteSize() > MOST_PROBLEM_BYTES:
            break
    return bad


def _retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromMilliseconds(round(seconds * 1000))
    return info


def _cut(text: str) -> str:
    """A text that fits into the status; the message of an error may quote what the caller sent."""
    data = text.encode(errors="backslashreplace")
    if len(data) <= LONGEST_TEXT_BYTES:
        return data.decode()
    return f"{data[:LONGEST_TEXT_BYTES].decode(errors='ignore')}…"


def _violation(problem: FieldProblem) -> error_details_pb2.BadRequest.FieldViolation:
    return error_details_pb2.BadRequest.FieldViolation(field=_cut(problem.field), description=_cut(problem.message))


def _pack(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def from_rpc_error(error: grpc.RpcError, address: str = "") -> CountlineError:
    """The error of a failed call; the one that the server raised if the server is ours.

    An unreachable server gives an `UnavailableError`, an elapsed deadline a `DeadlineExceededError`.

    Args:
        error: of the call.
        address: HOST:PORT of the server, so that the hint can name a proxy; empty if it is not known.
    """
    status = _details_of(error)
    code = _code_of(error)
    kind = BY_CODE.get(code, InternalError)
    info = _first(status, error_details_pb2.ErrorInfo)
    bad = _first(status, error_details_pb2.BadRequest)
    hint = info.metadata.get(HINT_KEY, "") if info is not None else ""
    retry = _first(status, error_details_pb2.RetryInfo)
    violations = bad.field_violations if bad is not None else ()
    fields = tuple(FieldProblem(violation.field, violation.description) for violation in violations)
    return kind(
        _message_of(error, code, ours=info is not None),
        hint=hint or _default_hint(code, address, ours=info is not None),
        fields=fields,
        retry_after_s=retry.retry_delay.ToMilliseconds() / 1000 if retry is not None else None,
    )


@contextmanager
def translated(address: str = "") -> Iterator[None]:
    """Calls made inside raise `CountlineError` instead of gRPC's own errors; `address` as in `from_rpc_error`."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error, address) from error


def _code_of(error: Any) -> str:
    code = error.code()
    return code.name if isinstance(code, grpc.StatusCode) else "INTERNAL"


def _message_of(error: Any, code: str, *, ours: bool) -> str:
    details = str(error.details() or code.lower().replace("_", " "))
    if code == "UNAVAILABLE" and not ours:
        return f"the server does not answer: {details.rpartition('last error: ')[2]}"
    return details


def _default_hint(code: str, address: str, *, ours: bool) -> str:
    if code == "UNAVAILABLE" and not ours:
        usual = "see that the server runs and that its address is right: countline status"
        return "; ".join(filter(None, (usual, proxy_remark(address))))
    return ""


def _details_of(error: Any) -> status_pb2.Status | None:
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)
    except (ValueError, AttributeError, DecodeError):  # no details, or details of another program
        return None
    return status


def _first(status: status_pb2.Status | None, kind: type[_Detail]) -> _Detail | None:
    for packed in status.details if status is not None else ():
        if packed.Is(kind.DESCRIPTOR):
            detail = kind()
            packed.Unpack(detail)
            return detail
    return None
