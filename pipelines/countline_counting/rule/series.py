"""The series of a line: in, out, net and U-turns.

*Net* is in less out; over a closed line it is the true change of the number of objects inside. A *U-turn* is an object
that crosses a line and crosses it back. Each object makes as many as the smaller number of its crossings in and out. So
in, out, in is one U-turn and one object that went in, and in + out - 2 * U-turns are the crossings that no object took
back.
"""

from collections import Counter

from countline_counting.events import Crossing, Direction


class Series:
    """The totals of one line over successive runs."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(Direction, 0)
        self._ended = 0
        self._by_track: dict[Direction, Counter[int]] = {direction: Counter() for direction in Direction}

    def add(self, crossing: Crossing) -> None:
        """Add a crossing of this line."""
        self.counts[crossing.direction] += 1
        self._by_track[crossing.direction][crossing.track] += 1

    def end_run(self) -> None:
        """Forget the tracks, because track numbers of the next run name other objects."""
        self._ended = self.u_turns
        for tracks in self._by_track.values():
            tracks.clear()

    @property
    def net(self) -> int:
        """In less out."""
        return self.counts[Direction.IN] - self.counts[Direction.OUT]

    @property
    def u_turns(self) -> int:
        """Number of U-turns."""
        return self._ended + (self._by_track[Direction.IN] & self._by_track[Direction.OUT]).total()
