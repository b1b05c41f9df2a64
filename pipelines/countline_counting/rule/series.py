"""The series of a line: in, out, net and U-turns.

*Net* is in less out; over a closed line it is the true change of what is inside. A *U-turn* is an object that crosses a
line and crosses it back: of each object, the smaller of its crossings in and out. So in, out, in is one U-turn and one
object that went in, and in + out - 2 * U-turns are the crossings that nobody took back.
"""

from collections import Counter

from countline_counting.events import Crossing, Direction


class Series:
    """The totals of one line, over runs that follow each other."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(Direction, 0)
        self._ended = 0
        self._by_track: dict[Direction, Counter[int]] = {direction: Counter() for direction in Direction}

    def add(self, crossing: Crossing) -> None:
        """Add a crossing of this line."""
        self.counts[crossing.direction] += 1
        self._by_track[crossing.direction][crossing.track] += 1

    def end_run(self) -> None:
        """Forget the tracks: numbers begin anew in the next run, and mean other objects."""
        self._ended = self.u_turns
        for tracks in self._by_track.values():
            tracks.clear()

    @property
    def net(self) -> int:
        """In less out."""
        return self.counts[Direction.IN] - self.counts[Direction.OUT]

    @property
    def u_turns(self) -> int:
        """How often an object crossed and crossed back."""
        return self._ended + (self._by_track[Direction.IN] & self._by_track[Direction.OUT]).total()
