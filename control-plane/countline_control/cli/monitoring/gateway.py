"""Asks whether the gateway of REST answers."""

import time

import aiohttp

OPEN_PATH = "/api/v1/openapi.json"
"""Needs no login."""


async def gateway_answers(base_url: str, limit_s: float) -> float | str:
    """Seconds until the gateway answers, or why it does not."""
    began = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=limit_s)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(base_url + OPEN_PATH) as response:
            if response.status != 200:
                return f"answers with status {response.status}"
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return f"{base_url} does not answer: {str(error) or type(error).__name__}"
    return time.monotonic() - began
