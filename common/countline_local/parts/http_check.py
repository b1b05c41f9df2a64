"""Ways to ask a part whether it is ready: each returns when it is and raises UnavailableError when it is not."""

import asyncio
from typing import Final

import aiohttp

from countline_common.errors import UnavailableError

PROBE_TIMEOUT_S: Final = 2.0
REASON_CHARACTERS: Final = 300


async def http_ok(url: str) -> None:
    """Ask for a page and be content with status 200."""
    timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session, session.get(url) as answer:
            if answer.status != 200:
                said = (await answer.text())[:REASON_CHARACTERS]
                raise UnavailableError(f"it answers with status {answer.status}: {said}")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(f"{url} does not answer: {error or type(error).__name__}") from error


async def port_open(host: str, port: int) -> None:
    """Connect over TCP."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (TimeoutError, OSError) as error:
        raise UnavailableError(f"{host}:{port} does not answer") from error
    writer.close()
    await writer.wait_closed()
