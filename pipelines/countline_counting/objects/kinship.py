"""Which tracks of two runs over the same frames are one object, by their boxes in each frame."""

from collections import Counter, OrderedDict
from typing import Final

import numpy as np

from countline_counting.frames import TrackedFrame
from countline_counting.rules import SAME_TRACK_OVERLAP
from countline_counting.tracking.association import overlaps

MOST_WAITING: Final = 256
"""Frames of one run that wait for the same frames of the other. Beyond that, the oldest is dropped, because the other
run has left it out."""


class Kinship:
    """Pairs of tracks of an old run and a new one.

    A track may pair with several tracks, because either run may lose an object and find it again under another id.
    """

    def __init__(self) -> None:
        self._votes: Counter[tuple[int, int]] = Counter()
        self._olds: set[int] = set()
        self._news: set[int] = set()
        self._waiting: tuple[OrderedDict[float, TrackedFrame], ...] = (OrderedDict(), OrderedDict())

    def see_old(self, frame: TrackedFrame) -> None:
        """Take a frame of the old run."""
        other = self._meet(0, frame)
        if other is not None:
            self._relate(frame, other)

    def see_new(self, frame: TrackedFrame) -> None:
        """Take a frame of the new run."""
        other = self._meet(1, frame)
        if other is not None:
            self._relate(other, frame)

    def votes(self, old: int, new: int) -> int:
        """Return the number of frames in which the two were one object."""
        return self._votes[old, new]

    def are_strangers(self, old: int, new: int) -> bool:
        """Return whether both tracks have pairs, but not with each other."""
        return old in self._olds and new in self._news and not self._votes[old, new]

    def kin_of(self, old: int) -> frozenset[int]:
        """Return the new run's tracks that were one object with a track of the old run; empty if there are none."""
        if old not in self._olds:
            return frozenset()
        return frozenset(new for one, new in self._votes if one == old)

    def _meet(self, side: int, frame: TrackedFrame) -> TrackedFrame | None:
        """Return the other run's frame of the same moment; if it has not come yet, keep this one for it."""
        other = self._waiting[1 - side].pop(frame.t, None)
        if other is None:
            self._waiting[side][frame.t] = frame
            if len(self._waiting[side]) > MOST_WAITING:
                self._waiting[side].popitem(last=False)
        return other

    def _relate(self, old: TrackedFrame, new: TrackedFrame) -> None:
        rows, columns, share = overlaps(old.xyxy_px, new.xyxy_px)
        best_of_old, best_of_new = np.zeros(len(old.ids)), np.zeros(len(new.ids))
        np.maximum.at(best_of_old, rows, share)
        np.maximum.at(best_of_new, columns, share)
        one = (share >= SAME_TRACK_OVERLAP) & (share >= best_of_old[rows]) & (share >= best_of_new[columns])
        for i, j in zip(old.ids[rows[one]].tolist(), new.ids[columns[one]].tolist(), strict=True):
            self._votes[i, j] += 1
            self._olds.add(i)
            self._news.add(j)
