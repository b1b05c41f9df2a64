"""Keeps what a process logs for the task that publishes it. Logging never waits and never fails because of it."""

import logging
from collections import deque
from typing import Final

from countline_common.logs import json_formatter

MOST_CHARACTERS: Final = 1024 * 1024
"""Of the lines that wait. When more come, the oldest are dropped."""


class LogTap(logging.Handler):
    """A handler that keeps the newest lines, as JSON, until they are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(json_formatter())
        self._lines: deque[str] = deque()
        self._characters = 0
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; called with the lock of the handler."""
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001  (as in each handler of the standard library)
            self.handleError(record)
            return
        self._lines.append(text)
        self._characters += len(text)
        while self._characters > MOST_CHARACTERS:
            self._characters -= len(self._lines.popleft())
            self._dropped += 1

    def attach(self) -> None:
        """Begin to keep what the process logs."""
        logging.getLogger().addHandler(self)

    def detach(self) -> None:
        """Keep no more."""
        logging.getLogger().removeHandler(self)

    def take(self, most_characters: int) -> tuple[list[str], int]:
        """Remove and return the oldest lines, and the number of lines dropped before them.

        Args:
            most_characters: of all lines together; the first line is returned although it is longer.
        """
        self.acquire()
        try:
            taken: list[str] = []
            room = most_characters
            while self._lines and (not taken or len(self._lines[0]) <= room):
                taken.append(self._lines.popleft())
                room -= len(taken[-1])
                self._characters -= len(taken[-1])
            dropped, self._dropped = self._dropped, 0
            return taken, dropped
        finally:
            self.release()
