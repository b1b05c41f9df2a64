"""A constant load on one model: keeps requests in flight and times the answers.

Each lane sends its next request when it has the answer to the last one, so the number of requests in flight is the
number of lanes. The frames are noise, the same in every run.
"""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import DeadlineExceededError
from countline_common.triton import InferenceLostError, ModelRef
from countline_common.triton.connection import Connection, bytes_input, shared_input
from countline_common.triton.shared_memory import SharedSegment
from countline_models.bench.points import Window

SEGMENT_PREFIX: Final = "countline-bench-"
REQUEST_TIMEOUT_S: Final = 30.0
WARM_UP_ANSWERS: Final = 2
"""Answers of each lane before the measurement starts; the first ones come from cold caches."""
WARM_UP_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of the lanes."""

    inputs: Sequence[Any]
    """One `InferInput` for each lane."""
    frames_each: int
    shared: bool
    """Whether the frames are in shared memory; otherwise they are sent as bytes."""


@asynccontextmanager
async def requests_of(
    connection: Connection, lanes: int, frames_each: int, size_hw: tuple[int, int]
) -> AsyncIterator[Requests]:
    """Requests for a number of lanes: frames in shared memory if the server can open it, else in the requests.

    Raises:
        ResourceExhaustedError: /dev/shm is too small.
    """
    shape = (frames_each, *size_hw, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with SharedSegment(f"{SEGMENT_PREFIX}{os.getpid()}-{secrets.token_hex(8)}", lanes * noise.nbytes) as segment:
        _fill(segment, noise, lanes)
        try:
            await connection.register(segment.name, segment.size_bytes)
        except InferenceLostError:
            yield Requests([bytes_input(noise)] * lanes, frames_each, shared=False)
            return
        places = range(0, segment.size_bytes, noise.nbytes)
        try:
            inputs = [shared_input(segment.name, place, noise.nbytes, shape) for place in places]
            yield Requests(inputs, frames_each, shared=True)
        finally:
            with suppress(InferenceLostError):  # a server that went away no longer has it registered
                await connection.unregister(segment.name)


def _fill(segment: SharedSegment, noise: NDArray[np.uint8], lanes: int) -> None:
    np.frombuffer(segment.buffer, np.uint8).reshape(lanes, -1)[:] = noise.ravel()


class Load:
    """Keeps one request of each lane in flight and measures windows of time.

    Args:
        connection: connection to the server.
        model: the model.
        requests: the requests of the lanes.
    """

    def __init__(self, connection: Connection, model: ModelRef, requests: Requests) -> None:
        self._connection = connection
        self._model = model
        self._requests = requests
        self._answers = [0] * len(requests.inputs)
        self._latencies_ms: list[float] = []
        """Latencies since the last window ended."""
        self._last_answer_s = 0.0
        self._stopped = False

    async def windows(self, window_s: float, enough: Callable[[Sequence[Window]], bool]) -> list[Window]:
        """Measure windows of about `window_s` until `enough` is true; the warm-up is discarded.

        Raises:
            CountlineError: Triton does not answer, or refuses the frames.
            DeadlineExceededError: the warm-up takes too long.
        """
        lanes = [asyncio.create_task(self._lane(index), name=f"bench-{index}") for index in range(len(self._answers))]
        found: list[Window] = []
        try:
            await self._warm_up(lanes)
            while not enough(found):
                found.append(await self._window(lanes, window_s))
        finally:
            # Not cancelled, because Triton reads this memory until it has answered.
            self._stopped = True
            await asyncio.gather(*lanes, return_exceptions=True)
        return found

    async def _lane(self, index: int) -> None:
        while not self._stopped:
            began_s = time.perf_counter()
            await self._connection.infer(self._model, self._requests.inputs[index], REQUEST_TIMEOUT_S)
            self._last_answer_s = time.perf_counter()
            self._latencies_ms.append((self._last_answer_s - began_s) * 1000)
            self._answers[index] += 1

    async def _warm_up(self, lanes: Sequence["asyncio.Task[None]"]) -> None:
        deadline_s = time.monotonic() + WARM_UP_TIMEOUT_S
        while min(self._answers) < WARM_UP_ANSWERS:
            if time.monotonic() > deadline_s:
                raise DeadlineExceededError(
                    f"{self._model} did not answer {WARM_UP_ANSWERS} requests a sender within {WARM_UP_TIMEOUT_S:g} s",
                    hint="give smaller --batch-sizes or fewer --in-flight",
                )
            await _pause(lanes, POLL_S)

    async def _window(self, lanes: Sequence["asyncio.Task[None]"], window_s: float) -> Window:
        """Measure from the last answer before the window to its own last one, so that few answers do not distort it."""
        began_s = self._last_answer_s
        self._latencies_ms.clear()
        await _pause(lanes, window_s)
        latencies_ms = tuple(self._latencies_ms)
        seconds = self._last_answer_s - began_s if latencies_ms else window_s
        return Window(seconds, len(latencies_ms) * self._requests.frames_each, latencies_ms)


async def _pause(lanes: Sequence["asyncio.Task[None]"], seconds: float) -> None:
    """Let the lanes run; raise the error that ended one of them."""
    ended, _ = await asyncio.wait(lanes, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for lane in ended:
        lane.result()
