"""Calls our REST interface. It answers `{"success": true, "data": …}`, or the errors."""

from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from countline_common.errors import BY_CODE, FieldProblem, InternalError, InvalidInputError, UnavailableError

_NO_PARAMETERS: Final[Mapping[str, str]] = {}


async def get(
    session: aiohttp.ClientSession, url: str, parameters: Mapping[str, str], headers: Mapping[str, str]
) -> dict[str, Any]:
    """The data of a GET.

    Raises:
        CountlineError: as for `call`.
    """
    return await call(session, "GET", url, headers, parameters=parameters)


async def call(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    parameters: Mapping[str, str] = _NO_PARAMETERS,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The data of a call.

    Args:
        session: its timeout limits the call.
        method: GET, POST, PATCH, PUT or DELETE.
        url: of the resource, without parameters.
        headers: with the access token.
        parameters: of the query.
        body: sent as JSON.

    Raises:
        UnavailableError: the server cannot be reached, or its response is no JSON.
        InternalError: the response has another shape than ours.
        CountlineError: the server refused the request; class, message and hint are the server's.
    """
    try:
        async with session.request(method, url, params=parameters, headers=headers, json=body) as response:
            answer = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise UnavailableError(
            f"{url} does not answer: {str(error) or type(error).__name__}", hint="see: countline status"
        ) from error
    return _data(answer, url)


def _data(answer: Any, url: str) -> dict[str, Any]:
    if isinstance(answer, dict) and answer.get("success") is True:
        data: dict[str, Any] = answer.get("data") or {}
        return data
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if not errors:
        raise InternalError(f"{url} gave an answer of an unknown shape")
    fields = tuple(FieldProblem(each["field"], each["message"]) for each in errors if each["field"])
    kind = BY_CODE.get(errors[0]["code"], InvalidInputError)
    message = "the request was refused" if fields else errors[0]["message"]
    raise kind(message, hint=errors[0].get("hint", ""), fields=fields)
