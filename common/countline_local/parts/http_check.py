"""The check of a part that answers over HTTP."""

from typing import Final

import aiohttp

from countline_common.errors import UnavailableError

PROBE_TIMEOUT_S: Final = 2.0
REASON_CHARACTERS: Final = 300


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
