"""Processes of our own that look at what might hang or crash: each has an end, and none outlives who waits for it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

LINE_BYTES: Final = 1 << 20
"""Longest line that is read from a child."""


@asynccontextmanager
async def child(command: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is killed, with all that it started, when the block ends before it does."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # Also after its end: what it started may be alive, and the group's id stays taken as long as that is so.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # Shielded: a second cancel must not leave a zombie behind.
        await asyncio.shield(process.wait())
