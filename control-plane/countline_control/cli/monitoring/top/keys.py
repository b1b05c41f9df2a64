"""Reads keys from a terminal one by one, without waiting for the end of a line."""

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MOST_WAITING: Final = 32
"""Keys that wait to be handled; more are dropped."""
_NAMES: Final = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
}


@contextmanager
def pressed_keys() -> Iterator["asyncio.Queue[str]"]:
    """Give a queue of the keys that are pressed, such as `q` or `up`; `end` once standard input has ended.

    The terminal is as before when the block ends. Ctrl-C still interrupts.
    """
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    queue: asyncio.Queue[str] = asyncio.Queue(MOST_WAITING)
    loop = asyncio.get_running_loop()

    def read() -> None:
        data = os.read(descriptor, 64)
        if not data:
            loop.remove_reader(descriptor)
        for key in names_of(data) if data else ["end"]:
            if not queue.full():
                queue.put_nowait(key)

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield queue
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def names_of(data: bytes) -> list[str]:
    """The names of keys that arrived together. Sequences that have no name are dropped."""
    found: list[str] = []
    while data:
        sequence = next((each for each in _NAMES if data.startswith(each)), b"")
        if sequence:
            found.append(_NAMES[sequence])
            data = data[len(sequence) :]
        elif data[:1] == b"\x1b":
            break
        else:
            found += [data[:1].decode("ascii", "ignore")] if data[0] < 0x80 else []
            data = data[1:]
    return found
