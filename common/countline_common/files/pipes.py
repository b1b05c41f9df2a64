"""Writes named pipes with a limit of time, because their readers are other programs."""

import errno
import io
import os
import select
import time
from pathlib import Path
from typing import BinaryIO, Final, cast

READER_WITHIN_S: Final = 15.0
"""A pipe must have a reader within this time."""
READS_WITHIN_S: Final = 60.0
"""The reader of a full pipe must read within this time."""
_PAUSE_S: Final = 0.05


class ReaderError(OSError):
    """A pipe without a reader, or with one that stopped reading. Its text is for users."""

    def __init__(self, problem: str) -> None:
        super().__init__(errno.ETIMEDOUT, problem)


def open_pipe(path: Path) -> BinaryIO:
    """Open a named pipe to write to it, once it has a reader.

    Raises:
        ReaderError: no program opened it within `READER_WITHIN_S`.
        OSError: it cannot be opened for another reason.
    """
    return cast("BinaryIO", io.BufferedWriter(_Pipe(_opened(path), str(path))))


def _opened(path: Path) -> int:
    until = time.monotonic() + READER_WITHIN_S
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        if time.monotonic() > until:
            raise ReaderError(f"no program opened the pipe to read it within {READER_WITHIN_S:g} s")
        time.sleep(_PAUSE_S)


class _Pipe(io.RawIOBase):
    """An open pipe. After its reader stopped reading, each further write fails at once."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._patience_s = READS_WITHIN_S

    def writable(self) -> bool:
        return True

    def write(self, data: "memoryview | bytes", /) -> int:  # type: ignore[override]  # BufferedWriter passes no other
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        if not poll.poll(self._patience_s * 1000):
            self._patience_s = 0.0
            raise ReaderError(f"the program that reads the pipe took nothing for {READS_WITHIN_S:g} s")
        return os.write(self._descriptor, data)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
