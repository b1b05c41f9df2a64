"""The check of a part that answers over HTTP."""

import json
from typing import Final

import aiohttp

from countline_common.errors import UnavailableError

PROBE_TIMEOUT_S: Final = 2.0
REASON_CHARACTERS: Final = 300


async def http_remarks(url: str) -> str:
    """Return what a process of ours reports as degraded, in one line; empty if nothing, or if it does not answer."""
    timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session, session.get(url) as answer:
            degraded = json.loads(await answer.text())["degraded"]
            return "; ".join(f"{name}: {problem}" for name, problem in degraded.items())
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""


async def http_ok(url: str) -> None:
    """Return if a page answers with status 200.

    Raises:
        UnavailableError: it does not, with the reason.
    """
    timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session, session.get(url) as answer:
            if answer.status != 200:
                said = (await answer.text())[:REASON_CHARACTERS]
                raise UnavailableError(f"it answers with status {answer.status}: {said}")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(f"{url} does not answer: {error or type(error).__name__}") from error
