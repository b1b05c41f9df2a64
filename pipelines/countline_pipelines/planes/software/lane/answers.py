"""Puts the answers of Triton back into the order in which their frames were sent."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from countline_pipelines.planes.software.lane.ticket import Ticket

Answer = tuple[Ticket, NDArray[np.float32] | None]
"""A frame and its detections (max_detections, 6); None for a refused frame."""


class AnswerOrder:
    """The answers that wait for earlier ones."""

    def __init__(self) -> None:
        self._sent = 0
        self._expected = 0
        self._early: dict[int, Answer] = {}
        """By sequence."""

    def next_sequence(self) -> int:
        """Number of the next frame that goes to Triton, from 0."""
        self._sent += 1
        return self._sent - 1

    def put(self, ticket: Ticket, detections: NDArray[np.float32] | None) -> None:
        """Take the answer for a frame."""
        self._early[ticket.sequence] = (ticket, detections)

    def due(self) -> Iterator[Answer]:
        """Yield the answers whose turn it is."""
        while self._expected in self._early:
            self._expected += 1
            yield self._early.pop(self._expected - 1)
