"""Child processes for work that may hang or crash; a child never outlives the block that started it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

LINE_BYTES: Final = 1 << 20
"""Longest line that a child may write."""


@asynccontextmanager
async def child(command: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process. If the block ends first, the process and all processes it started are killed."""
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
        # Also after its end: processes that it started may be alive, and the id of the group is not reused before they
        # end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # Shielded, so that a second cancellation leaves no zombie.
        await asyncio.shield(process.wait())
