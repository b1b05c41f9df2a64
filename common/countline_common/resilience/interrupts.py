"""Interrupts of a coroutine that must restore what it changed elsewhere."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupted_once() -> Iterator[None]:
    """Cancel the current task at the first Ctrl-C, SIGTERM or end of the terminal, and ignore all later ones.

    The block can restore things in a `finally`, which must have a time limit. At the end of the block the signal takes
    its usual effect. Use it in the main thread.
    """
    task = asyncio.current_task()
    assert task is not None
    came: list[int] = []

    def on_signal(number: int) -> None:
        if not came:
            task.cancel()
        came.append(number)

    loop = asyncio.get_running_loop()
    before = {number: handler for number in ENDING_SIGNALS if (handler := signal.getsignal(number)) != signal.SIG_IGN}
    for number in before:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
        if came:
            task.uncancel()  # asyncio's own handler of Ctrl-C counts the cancellations
            signal.raise_signal(came[0])
