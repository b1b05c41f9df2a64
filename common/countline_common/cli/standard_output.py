"""Standard output that reports a full disk or a closed pipe as an error of the command."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from countline_common.files.output_files import unwritable


class _CheckedOutput(io.FileIO):
    """Standard output whose errors say what failed. A closed pipe stays a `BrokenPipeError`."""

    def write(self, data: Any, /) -> int:
        """Write bytes."""
        with _output_errors():
            return super().write(data)


class _Immediate(io.BufferedWriter):
    """Holds nothing back, as PYTHONUNBUFFERED asks."""

    def write(self, data: Any, /) -> int:
        """Write bytes."""
        written = super().write(data)
        self.flush()
        return written


def checked(stream: TextIO) -> TextIO:
    """Return a stream that writes where standard output writes, through `_CheckedOutput`."""
    raw: Any = _CheckedOutput(stream.fileno(), "wb", closefd=False)
    unbuffered = bool(getattr(stream, "write_through", False))
    buffer = _Immediate(raw) if unbuffered else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer, stream.encoding, stream.errors, line_buffering=stream.isatty(), write_through=unbuffered
    )


@contextmanager
def _output_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise unwritable("standard output", error) from error


def discard_output() -> None:
    """Send what standard output still buffers to nowhere, or Python would fail on it once more at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
