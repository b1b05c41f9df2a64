"""Keeps the certificates of a running `countline up`: renews them in time, and lets NATS read new ones."""

import asyncio
import os
import signal
import time
from datetime import UTC, datetime
from typing import Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.tls.stamps import stamp
from countline_local.parts.system import System
from countline_local.supervision.supervisor import Supervisor
from countline_local.up.display import Display

LOOK_EVERY_S: Final = 1.0
RENEW_EVERY_S: Final = 3600.0
NATS: Final = "nats"

_log = get_logger(__name__)


async def keep_certificates(system: System, supervisor: Supervisor, display: Display) -> None:
    """Renew certificates that expire soon, and reload NATS after its files changed, until cancelled.

    The services of gRPC look at their files themselves.
    """
    files = system.tls(NATS)
    if files is None:
        return
    await supervisor.wait_ready()
    seen, renewed_at = stamp(files), time.monotonic()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            if time.monotonic() - renewed_at > RENEW_EVERY_S:
                renewed_at = time.monotonic()
                if renewed := await asyncio.to_thread(system.authority.renew_old, datetime.now(UTC)):
                    display.note(f"Renewed the certificates of {', '.join(renewed)}.")
            now = stamp(files)
            if now != seen:
                await asyncio.to_thread(files.check)
                _reload_nats(supervisor)
                seen = now
        except (CountlineError, OSError) as error:  # perhaps the files are being replaced
            _log.warning("certificates", error=str(error))


def _reload_nats(supervisor: Supervisor) -> None:
    for status in supervisor.statuses:
        if status.name == NATS and status.pid is not None:
            os.kill(status.pid, signal.SIGHUP)
            _log.info("certificates.reloaded", part=NATS)
