"""The errors of the product: one tree, each with a hint.

    CountlineError
    ├── InvalidInputError       the input cannot be used                   INVALID_ARGUMENT     400
    ├── UnauthenticatedError    the caller is unknown                      UNAUTHENTICATED      401
    ├── PermissionDeniedError   the caller lacks a permission              PERMISSION_DENIED    403
    ├── NotFoundError           the resource does not exist                NOT_FOUND            404
    │   └── NotRunningError     no Countline runs from a data folder       NOT_FOUND            404
    ├── AlreadyExistsError      the name is taken                          ALREADY_EXISTS       409
    ├── ConflictError           the current state does not allow it        FAILED_PRECONDITION  409
    ├── StaleRevisionError      it was changed since it was read           ABORTED              409
    ├── ResourceExhaustedError  a bound is reached (disk, queue, quota)    RESOURCE_EXHAUSTED   429
    ├── UnavailableError        a required part does not answer            UNAVAILABLE          503
    ├── DeadlineExceededError   a required part did not answer in time     DEADLINE_EXCEEDED    504
    └── InternalError           a bug                                      INTERNAL             500

`countline_common.grpc.errors` maps them to gRPC status, `countline_common.http.errors` to HTTP status.
"""

from dataclasses import dataclass
from typing import Final

from countline_common.redaction import redact


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field of the input that is wrong."""

    field: str
    """Path of the field in the caller's own terms, e.g. `lines[0].points`."""
    message: str


class CountlineError(Exception):
    """Root of every error that Countline raises on purpose.

    Args:
        message: what failed and why, one sentence without a full stop. Secrets in it are masked here: it may quote an
            address that a person mistyped.
        hint: what the reader can do; empty if there is nothing to do.
        fields: the wrong parts of the input, for forms and gRPC `BadRequest` details.
        retry_after_s: seconds after which a repeated call may succeed; None if that is unknown.
    """

    code: str = "INTERNAL"
    """Stable code for programs: the name of the gRPC status code."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        fields: tuple[FieldProblem, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        self.retry_after_s = retry_after_s
        self.message = redact(message)
        super().__init__(self.message)
        self.hint = hint
        self.fields = tuple(FieldProblem(problem.field, redact(problem.message)) for problem in fields)

    def __str__(self) -> str:
        return self.message


class InvalidInputError(CountlineError):
    """The input cannot be used."""

    code = "INVALID_ARGUMENT"


class UnauthenticatedError(CountlineError):
    """The caller is unknown."""

    code = "UNAUTHENTICATED"


class PermissionDeniedError(CountlineError):
    """The caller lacks a permission."""

    code = "PERMISSION_DENIED"


class NotFoundError(CountlineError):
    """The resource does not exist."""

    code = "NOT_FOUND"


class NotRunningError(NotFoundError):
    """No Countline runs from a data folder of this machine."""


class AlreadyExistsError(CountlineError):
    """The name is taken."""

    code = "ALREADY_EXISTS"


class ConflictError(CountlineError):
    """The current state does not allow the request."""

    code = "FAILED_PRECONDITION"


class StaleRevisionError(CountlineError):
    """The request was made for an older revision of the resource; the message names the current one."""

    code = "ABORTED"


class ResourceExhaustedError(CountlineError):
    """A bound is reached: a disk, a queue, a quota."""

    code = "RESOURCE_EXHAUSTED"


class UnavailableError(CountlineError):
    """A required part does not answer."""

    code = "UNAVAILABLE"


class DeadlineExceededError(CountlineError):
    """A required part did not answer in time."""

    code = "DEADLINE_EXCEEDED"


class InternalError(CountlineError):
    """A bug in Countline."""

    code = "INTERNAL"


BY_CODE: Final[dict[str, type[CountlineError]]] = {
    kind.code: kind
    for kind in (
        InvalidInputError,
        UnauthenticatedError,
        PermissionDeniedError,
        NotFoundError,
        AlreadyExistsError,
        ConflictError,
        StaleRevisionError,
        ResourceExhaustedError,
        UnavailableError,
        DeadlineExceededError,
        InternalError,
    )
}
"""The class of an error that came over gRPC or REST."""
