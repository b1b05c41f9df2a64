"""Which finite files are stored whole, with every record in JetStream. Only such a file is reported as finished."""

import asyncio
from typing import Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_pipelines.publishing.spool import Spool

LOOK_EVERY_S: Final = 0.5
_log = get_logger(__name__)


class StoredFiles:
    """Follows the records of files that were counted to their end; used from the worker's event loop.

    Args:
        spool: holds the records until JetStream has acknowledged them.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._waiting: dict[str, int] = {}
        """Key of a file → number of the first record that is not of this file any more."""
        self._stored: set[str] = set()
        self._changed = asyncio.Event()

    def expect(self, key: str) -> None:
        """Begin to wait for the records of a file; all of them must be in the spool."""
        if key not in self._stored:
            self._waiting.setdefault(key, self._spool.next_number)
            self._changed.set()

    def __contains__(self, key: str) -> bool:
        return key in self._stored

    async def run(self) -> None:
        """Look after the files that wait, until cancelled."""
        while True:
            self._changed.clear()
            for key, end in [*self._waiting.items()]:
                if await self._is_acknowledged(end):
                    self._stored.add(key)
                    del self._waiting[key]
            if self._waiting:
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                await self._changed.wait()

    async def _is_acknowledged(self, end: int) -> bool:
        try:
            return await asyncio.to_thread(self._spool.is_acknowledged, end)
        except CountlineError as error:
            _log.warning("spool.not_read", error=error.message)
            return False
