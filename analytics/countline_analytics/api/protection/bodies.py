"""Reads the body of a request, within limits of time and size."""

import asyncio
import zlib
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from countline_common.errors import InvalidInputError
from countline_common.untrusted_json import parse_json

BODY_TIMEOUT_S: Final = web.AppKey("body_timeout_s", float)
"""Seconds in which the body of a request must arrive."""
_HINT: Final = "send JSON, plain or with the Content-Encoding that its header names: gzip or deflate"
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


async def json_body(request: web.Request, most_bytes: int) -> Any:
    """Return the parsed body; None if there is none.

    Args:
        request: of any caller.
        most_bytes: largest body, also after it is decompressed.

    Raises:
        InvalidInputError: the body is not JSON, or its compressed form is damaged or cut off.
        web.HTTPRequestEntityTooLarge: the body is larger than `most_bytes`.
        web.HTTPRequestTimeout: the body did not arrive in time.
    """
    data = decompressed(await _body(request, most_bytes), request.headers.get("Content-Encoding", ""), most_bytes)
    if not data.strip():
        return None
    try:
        return parse_json(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except ValueError as error:
        raise InvalidInputError(f"the body is not JSON: {error}", hint="send a JSON object") from error


async def _body(request: web.Request, most_bytes: int) -> bytes:
    """Read the body as it is sent; stop as soon as it is known to be too large."""
    announced, data = request.content_length or 0, bytearray()
    try:
        async with asyncio.timeout(request.app[BODY_TIMEOUT_S]):
            while announced <= most_bytes and (chunk := await request.content.readany()):
                data += chunk
                announced = max(announced, len(data))
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise InvalidInputError("the body cannot be read", hint=_HINT) from error
    if announced > most_bytes:
        raise web.HTTPRequestEntityTooLarge(most_bytes, announced)
    return bytes(data)


def decompressed(data: bytes, encoding: str, most_bytes: int) -> bytes:
    """Return a body as it was before `Content-Encoding`.

    Raises:
        InvalidInputError: the encoding is not known, or the data are damaged, cut off, or followed by others.
        web.HTTPRequestEntityTooLarge: the result is larger than `most_bytes`.
    """
    name = encoding.strip().lower()
    if name in {"", "identity"} or not data:
        return data
    if name not in {"gzip", "x-gzip", "deflate"}:
        raise InvalidInputError("the Content-Encoding of the body is not known", hint=_HINT)
    decompressor = zlib.decompressobj(_GZIP if name != "deflate" else _form_of_deflate(data))
    try:
        result = decompressor.decompress(data, most_bytes + 1)
    except zlib.error as error:
        raise InvalidInputError(f"the body cannot be read: it is no {name}", hint=_HINT) from error
    if len(result) > most_bytes:
        raise web.HTTPRequestEntityTooLarge(most_bytes, len(result))
    if not decompressor.eof or decompressor.unused_data:
        problem = "bytes follow its end" if decompressor.eof else "it is cut off"
        raise InvalidInputError(f"the body cannot be read: {problem}", hint=_HINT)
    return result


def _form_of_deflate(data: bytes) -> int:
    """Return the form of a deflate body: some clients leave out the header that RFC 9110 asks for."""
    return _ZLIB if data[0] & 0x0F == zlib.DEFLATED else _RAW


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not a number")
