"""Reads answers of our REST interface: `{"success": true, "data": …}`, or the errors."""

from collections.abc import Mapping
from typing import Any

import aiohttp

from countline_common.errors import FieldProblem, InternalError, InvalidInputError, UnavailableError


async def get(
    session: aiohttp.ClientSession, url: str, parameters: Mapping[str, str], headers: Mapping[str, str]
) -> dict[str, Any]:
    """The data of a GET.

    Raises:
        UnavailableError: the server cannot be reached, or its answer is no JSON.
        InvalidInputError: the server refuses the request; the message is the server's.
        InternalError: the answer has another shape than ours.
    """
    try:
        async with session.get(url, params=parameters, headers=headers) as response:
            body = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise UnavailableError(
            f"{url} does not answer: {str(error) or type(error).__name__}", hint="see: countline status"
        ) from error
    return data_of(body, url)


def data_of(body: Any, url: str) -> dict[str, Any]:
    """The data of a successful answer.

    Raises:
        InvalidInputError: the server refused the request.
        InternalError: the answer has another shape than ours.
    """
    if isinstance(body, dict) and body.get("success") is True:
        data: dict[str, Any] = body["data"]
        return data
    errors = body.get("errors") if isinstance(body, dict) else None
    if not errors:
        raise InternalError(f"{url} gave an answer of an unknown shape")
    fields = tuple(FieldProblem(each["field"], each["message"]) for each in errors if each["field"])
    raise InvalidInputError(errors[0]["message"] if not fields else "the request was refused", fields=fields)
