"""Standard streams of a command: standard output that is full or closed fails the command.

Errors of standard error lose messages, and never the work.
"""

import io
import os
import sys
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


class _LenientOutput(io.FileIO):
    """Standard error that drops what cannot be written."""

    def write(self, data: Any, /) -> int:
        """Write bytes."""
        with suppress(OSError):
            return super().write(data)
        return len(data)


def prepare_streams() -> None:
    """Replace standard output and standard error by streams as this module describes them.

    A stream that the caller closed leads to nowhere. Otherwise the next file that is opened would get its number, and
    with it what libraries print.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = checked(sys.stdout or open(1, "w", closefd=False))  # noqa: SIM115  (a number, not a path)
    sys.stderr = lenient(sys.stderr or open(2, "w", closefd=False))  # noqa: SIM115


def lenient(stream: TextIO) -> TextIO:
    """Return a stream that writes where standard error writes, through `_LenientOutput`."""
    buffer: Any = io.BufferedWriter(_LenientOutput(stream.fileno(), "wb", closefd=False))
    return io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=True)


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
