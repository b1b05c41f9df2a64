"""Errors over HTTP: the one shape in which REST reports a `CountlineError`.

    {"success": false, "request_id": "…", "errors": [{"code": "NOT_FOUND", "field": "", "message": "…", "hint": "…"}]}

There is one entry for each wrong field, or a single entry without a field. The hint is what to do, in each entry; it
is empty if there is nothing to say.
"""

from typing import Any, Final

from countline_common.errors import CountlineError, FieldProblem

STATUS: Final[dict[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 409,
    "ABORTED": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def http_status(error: CountlineError) -> int:
    """The HTTP status of an error."""
    return STATUS.get(error.code, 500)


def problem(error: CountlineError, request_id: str) -> dict[str, Any]:
    """The body of the response."""
    problems = error.fields or (FieldProblem("", error.message),)
    errors = [
        {"code": error.code, "field": each.field, "message": each.message, "hint": error.hint} for each in problems
    ]
    return {"success": False, "request_id": request_id, "errors": errors}
