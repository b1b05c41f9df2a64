"""Finds the times of a file of which no picture could be read, so that a person learns what a count lacks."""

from collections.abc import Callable
from typing import Final

from countline_pipelines.sources.stamps import CONFIRMED_FRAMES, LONGEST_GAP_S
from countline_pipelines.sources.warnings import SourceWarnings, WarningCode, spans_in_words

LEAST_HOLE_S: Final = 0.5
"""A shorter time between two pictures is no hole unless packets between them could not be decoded."""
LEAST_EVEN_HOLE_PERIODS: Final = 1.5
"""The same for a codec whose pictures come at one rate, in periods."""
LEAST_UNREAD: Final = 2
"""Some recorders count one picture too many."""
MOST_TIME_BY_BYTES: Final = 4.0
"""The pictures that are missing took at most so many times the time that their bytes would usually take. Where fewer
bytes are missing, the clock was set."""
Lacks = Callable[[tuple[float, float], tuple[int, int]], bool]
_HINT: Final = "copy the file again, or join it anew with `ffmpeg -f concat`; what is there was counted"


class HoleFinder:
    """Follows the pictures of one recording in the order of presentation.

    A picture that is held for long is no hole: its duration covers the time up to the next picture.

    Args:
        warnings: gets the holes.
        label: the source without its credentials.
        period_s: time between two pictures.
        is_alone: whether the file has no other track, so that all its bytes are those of pictures.
        lacks: looks into a file that states no durations: whether pictures are missing between two with these PTS in
            seconds, which were read up to these bytes.
        is_even: whether the codec has one frame rate, so that no picture is held.
    """

    def __init__(
        self,
        warnings: SourceWarnings,
        label: str,
        period_s: float,
        *,
        is_alone: bool,
        lacks: Lacks | None = None,
        is_even: bool = False,
    ) -> None:
        self._warnings = warnings
        self._label = label
        self._period_s = period_s
        self._is_alone = is_alone
        self._lacks = lacks
        self._least_s = min(LEAST_HOLE_S, LEAST_EVEN_HOLE_PERIODS * period_s) if is_even else LEAST_HOLE_S
        self._start_s = self._base_s = 0.0
        self._end_s: float | None = None
        self._last_s: float | None = None
        self._broken = self._doubtful = 0
        self._states_durations = False
        self._holes: list[tuple[float, float]] = []
        self._read_to = self._good_bytes = self._largest_bytes = 0
        self._good_s = 0.0

    def begin(self, base_s: float, start_s: float | None) -> None:
        """Begin with the first recording of a file, or with one that was appended to it.

        Args:
            base_s: where it begins in the file, seconds.
            start_s: presentation time of its first picture, as its header states it; None if it states none.
        """
        self._base_s, self._start_s = base_s, start_s or 0.0
        # A video may begin later than its sound: only broken packets make its late start a hole.
        self._end_s, self._broken, self._states_durations = start_s, 0, False
        self._read_to, self._last_s = 0, None

    @property
    def read_until_s(self) -> float:
        """Where the last picture ends in the file, seconds; 0 if pictures have no times."""
        return 0.0 if self._end_s is None else self._base_s + self._end_s - self._start_s

    def broken(self) -> None:
        """A packet could not be decoded."""
        self._broken += 1

    def incomplete(self) -> None:
        """Packets behind one of a transport stream are missing; a decoder gives its picture some packets later."""
        self._doubtful = CONFIRMED_FRAMES

    def picture(self, pts_s: float | None, duration_s: float, read_to: int) -> bool:
        """Take a decoded picture. Return whether pictures before it are missing, for as long as its PTS says.

        Args:
            pts_s: its PTS; None if it has none.
            duration_s: how long it is shown; 0 if the file does not state that.
            read_to: one past the last byte that was read for it.
        """
        read_before, self._read_to = self._read_to, read_to
        if pts_s is None:
            return False
        is_lacking = self._is_lacking(pts_s, (read_before, read_to))
        is_missing = self._is_missing(pts_s, read_to - read_before) or is_lacking
        if self._end_s is not None:
            # Without stated durations, only broken packets distinguish a hole from a picture that is held.
            is_known = self._broken or self._doubtful or is_lacking
            least_s = self._period_s / 2 if is_known else self._least_s
            is_jump = pts_s - self._end_s > LONGEST_GAP_S and not is_missing  # the clock reports it
            is_hole = is_known or self._states_durations or is_missing
            if pts_s - self._end_s > least_s and is_hole and not is_jump:
                self._report(self._end_s, pts_s)
        # Where the file itself says what is missing, FFmpeg's duration is only what it expects.
        self._states_durations, self._last_s = duration_s > 0 and self._lacks is None, pts_s
        self._end_s, self._broken = pts_s + (duration_s or self._period_s), 0
        self._doubtful = max(0, self._doubtful - 1)
        return is_missing

    def _is_missing(self, pts_s: float, read_bytes: int) -> bool:
        """Whether so many bytes were passed over that pictures are missing; else learn how many a picture takes.

        A demuxer may pass over damaged bytes without a broken packet. A key frame is larger than other pictures, so the
        largest picture is no evidence.
        """
        gap_s = 0.0 if self._end_s is None else pts_s - self._end_s
        missing_bytes = read_bytes - self._largest_bytes
        may_be_hole = self._broken or self._is_alone
        if self._good_bytes and may_be_hole and self._lacks is None and gap_s > LEAST_HOLE_S and missing_bytes > 0:
            usual_s = missing_bytes * self._good_s / self._good_bytes
            if gap_s <= MOST_TIME_BY_BYTES * usual_s:
                return True
        if not self._broken:
            self._good_s, self._good_bytes = self._good_s + self._period_s, self._good_bytes + read_bytes
            self._largest_bytes = max(self._largest_bytes, read_bytes)
        return False

    def _is_lacking(self, pts_s: float, read: tuple[int, int]) -> bool:
        """Whether the file itself says that pictures are missing before this one."""
        if self._lacks is None or self._end_s is None or self._last_s is None:
            return False
        if pts_s - self._end_s <= self._period_s / 2:
            return False
        return self._lacks((self._last_s, pts_s), read)

    def end(self, stated_s: float | None, read_to: int, unread: int) -> None:
        """The recording ended.

        Args:
            stated_s: its stated duration; None if it states none.
            read_to: one past the last byte that was read.
            unread: pictures that the header states beyond the last one.
        """
        if unread >= LEAST_UNREAD and not self._holes:
            early_s = unread * self._period_s
            message = f"{self._label}: {unread} of the pictures that its header states could not be read"
            where = f"; the file does not show where, so pictures may be dated up to {early_s:.1f} s too early"
            self._warnings.put(WarningCode.HOLE, message + where, _HINT)
        if not self._broken or self._end_s is None:
            return
        stated_end_s = self._start_s + (stated_s or 0.0)
        if stated_end_s > self._end_s:
            self._report(self._end_s, stated_end_s)
        elif (broken_s := self._broken_s(read_to)) > LEAST_HOLE_S:
            # As in a joined file whose second recording has another codec: the stated duration is that of one of them.
            self._report(self._end_s, self._end_s + broken_s)

    def _broken_s(self, read_to: int) -> float:
        """About how long the broken packets after the last picture take. A demuxer may give the rest as one packet."""
        missing_bytes = read_to - self._read_to - self._largest_bytes
        usual_s = missing_bytes * self._good_s / self._good_bytes if self._is_alone and self._good_bytes else 0.0
        return max(usual_s, self._broken * self._period_s)

    def _report(self, from_s: float, to_s: float) -> None:
        offset = self._base_s - self._start_s
        self._holes.append((from_s + offset, to_s + offset))
        message = f"{self._label}: no picture could be read {spans_in_words(self._holes)}"
        self._warnings.put(WarningCode.HOLE, message, _HINT)
