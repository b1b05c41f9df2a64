"""Errors over HTTP: a `CountlineError` as the one shape in which REST says that something went wrong.

    {"success": false, "request_id": "…", "errors": [{"code": "NOT_FOUND", "field": "", "message": "…"}]}

There is one entry for each field that was wrong, or one for the whole where no field was to blame; the hint follows
the message.
"""

from typing import Any, Final

from countline_common.errors import CountlineError

STATUS: Final[dict[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def http_status(error: CountlineError) -> int:
    """The status that an error stands for."""
    return STATUS.get(error.code, 500)


def problem(error: CountlineError, request_id: str) -> dict[str, Any]:
    """The body that goes with the status."""
    if error.fields:
        errors = [{"code": error.code, "field": each.field, "message": each.message} for each in error.fields]
    else:
        errors = [{"code": error.code, "field": "", "message": message_with_hint(error)}]
    return {"success": False, "request_id": request_id, "errors": errors}


def message_with_hint(error: CountlineError) -> str:
    """What was wrong and what to do, in one line."""
    return f"{error.message}; {error.hint}" if error.hint else error.message
