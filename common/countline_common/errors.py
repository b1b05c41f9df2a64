"""The errors of the product: one tree, each with a hint.

    CountlineError
    ├── InvalidInputError       what the caller gave cannot be used        INVALID_ARGUMENT     400
    ├── UnauthenticatedError    who is asking is not known                 UNAUTHENTICATED      401
    ├── PermissionDeniedError   who is asking may not do this              PERMISSION_DENIED    403
    ├── NotFoundError           there is no such thing                     NOT_FOUND            404
    ├── AlreadyExistsError      the name is taken                          ALREADY_EXISTS       409
    ├── ConflictError           the state of things forbids it now         FAILED_PRECONDITION  409
    ├── ResourceExhaustedError  a bound is reached (disk, queue, quota)    RESOURCE_EXHAUSTED   429
    ├── UnavailableError        a part that is needed does not answer      UNAVAILABLE          503
    ├── DeadlineExceededError   it did not answer in time                  DEADLINE_EXCEEDED    504
    └── InternalError           a fault of ours                            INTERNAL             500

The mapping to gRPC status is in `countline_common.grpc.errors`, to HTTP in `countline_common.http.errors`, and
nowhere else.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field of the input that cannot be used."""

    field: str
    """Path of the field in the caller's own terms, e.g. `lines[0].points`."""
    message: str


class CountlineError(Exception):
    """Root of every error that Countline raises on purpose.

    Args:
        message: what was wrong and where, one sentence without a full stop.
        hint: what the reader can do about it; empty where there is nothing.
        fields: the parts of the input that were wrong, for forms and gRPC `BadRequest` details.
    """

    code: str = "INTERNAL"
    """Stable word for machines: the name of the gRPC status code."""

    def __init__(self, message: str, *, hint: str = "", fields: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields = fields

    def __str__(self) -> str:
        return self.message


class InvalidInputError(CountlineError):
    """What the caller gave cannot be used."""

    code = "INVALID_ARGUMENT"


class UnauthenticatedError(CountlineError):
    """Who is asking is not known."""

    code = "UNAUTHENTICATED"


class PermissionDeniedError(CountlineError):
    """Who is asking may not do this."""

    code = "PERMISSION_DENIED"


class NotFoundError(CountlineError):
    """There is no such thing."""

    code = "NOT_FOUND"


class AlreadyExistsError(CountlineError):
    """The name is taken."""

    code = "ALREADY_EXISTS"


class ConflictError(CountlineError):
    """The state of things forbids it now."""

    code = "FAILED_PRECONDITION"


class ResourceExhaustedError(CountlineError):
    """A bound is reached: a disk, a queue, a quota."""

    code = "RESOURCE_EXHAUSTED"


class UnavailableError(CountlineError):
    """A part that is needed does not answer."""

    code = "UNAVAILABLE"


class DeadlineExceededError(CountlineError):
    """A part did not answer in time."""

    code = "DEADLINE_EXCEEDED"


class InternalError(CountlineError):
    """A fault of ours."""

    code = "INTERNAL"
