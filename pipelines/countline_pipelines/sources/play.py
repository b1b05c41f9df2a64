"""The four ways of playing a source. Each yields pictures with capture times until the source ends or breaks.

    FAST      t = recorded_at + position                      as fast as the consumer takes them
    REALTIME  t = recorded_at + position                      held back until their time
    LOOP      t = the wall time at which the position is due  held back until then; left out if far behind
    LIVE      t from the stream's own clock (clock.py)        as they arrive; HLS and files on HTTP are held back to an
                                                              even pace

Every wait ends at once when `stop` is set.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from countline_common.display import Orientation, PictureShape
from countline_pipelines.sources.clock import CaptureClock, FileClock
from countline_pipelines.sources.errors import SourceError, SourceFailure
from countline_pipelines.sources.reading.opened import DecodedFrame
from countline_pipelines.sources.spec import Playback, SourceSpec
from countline_pipelines.sources.stamps import CLEAN, LONGEST_GAP_S, StampReport
from countline_pipelines.sources.video import VideoReader
from countline_pipelines.sources.wall_clock import WALL, steady_s

BEHIND_S: Final = 2.0
"""A loop that is further behind the clock jumps to its due position; the frames between count as dropped."""
CLOCK_STEP_S: Final = 1.0
"""A wall clock that goes back by more than this was set."""
TRUNCATION_SLACK_S: Final = 0.5
TRUNCATION_SLACK_FRAMES: Final = 3
"""A file is truncated if it ends earlier than its header states, by more than both of these."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame of a source."""

    frame: Any
    """av.VideoFrame, upright; its pixels need not be square"""
    t: float
    """Capture time, seconds."""
    size_wh: tuple[int, int]
    """As displayed, in square pixels."""
    ordinal: int
    """Number of the decoded frame since the source was opened, including frames that are not looked at."""
    skipped: int = 0
    """Frames left out just before this one because the source was behind."""
    position_s: float = 0.0
    """Seconds from the start of a file; 0 for streams."""
    orientation: Orientation = Orientation.UPRIGHT
    """How the decoded picture was turned."""
    stamps: StampReport = CLEAN
    """What was wrong with the presentation times until now."""

    @property
    def shape(self) -> PictureShape:
        """As displayed."""
        return PictureShape(self.size_wh, self.orientation)


class ClockSteppedError(Exception):
    """The wall clock was set back: capture times must begin again."""


def play(spec: SourceSpec, reader: VideoReader, stop: threading.Event) -> Iterator[Picture]:
    """The pictures of an open source, until it ends or breaks.

    Raises:
        SourceError: the source broke; TRUNCATED after the last picture of a file shorter than its header states.
        ClockSteppedError: the wall clock was set back under a live source.
    """
    players: dict[Playback, Callable[[], Iterator[Picture]]] = {
        Playback.FAST: lambda: play_file(spec, reader, stop, real_time=False),
        Playback.REALTIME: lambda: play_file(spec, reader, stop, real_time=True),
        Playback.LOOP: lambda: play_loop(spec, reader, stop),
        Playback.LIVE: lambda: play_live(spec, reader, stop),
    }
    return players[spec.playback]()


def play_file(spec: SourceSpec, reader: VideoReader, stop: threading.Event, *, real_time: bool) -> Iterator[Picture]:
    """All frames of a file."""
    clock = FileClock(1.0 / reader.info.fps, reader.turn_s)
    began = time.monotonic()
    lead_s = position = held_s = 0.0
    for ordinal, decoded in enumerate(reader.frames()):
        if ordinal == 0 and decoded.pts_s is not None:
            lead_s = max(0.0, decoded.pts_s - reader.start_s)
        position = clock.position(decoded.pts_s, is_gap=decoded.is_after_hole)
        held_s = decoded.duration_s
        if stop.is_set() or (real_time and stop.wait(max(0.0, began + position - time.monotonic()))):
            return
        yield _picture(decoded, spec.recorded_at + position, ordinal, position_s=position, stamps=clock.report)
    # The header states what the stamps say, jumps included.
    _check_complete(spec, reader, lead_s + max(position, clock.furthest_s), held_s)


def _check_complete(spec: SourceSpec, reader: VideoReader, position_s: float, held_s: float) -> None:
    """Compare the end of a file with its header.

    Args:
        spec: the file.
        reader: has read it.
        position_s: of the last picture, from the start that the header states.
        held_s: how long the last picture is shown; 0 if that is not stated.
    """
    stated = reader.info.duration_s
    period_s = 1.0 / reader.info.fps
    if stated is None or spec.is_network:
        return
    end_s = position_s + max(period_s, held_s)
    if float(stated) - end_s > max(TRUNCATION_SLACK_S, TRUNCATION_SLACK_FRAMES * period_s):
        detail = f"ends after {end_s:.1f} s, though its header states {float(stated):.1f} s"
        raise SourceError(SourceFailure.TRUNCATED, spec.label, detail, after_pictures=True)


def play_loop(spec: SourceSpec, reader: VideoReader, stop: threading.Event) -> Iterator[Picture]:
    """A file again and again, in phase with the wall clock.

    Cycle k begins at Unix time k * duration; its frames are captured at k * duration + position. The arithmetic is in
    fractions: after a year of cycles, a sum of floats would be out of phase by frames.
    """
    duration = reader.info.duration_s
    if not duration:
        detail = "cannot be looped: the file states no duration"
        raise SourceError(SourceFailure.NOT_VIDEO, spec.label, detail, hint="convert it to MP4")
    ordinal, last_t = 0, -math.inf
    while not stop.is_set():
        for decoded, t, stamps in _from_here(spec, reader, stop, duration):
            skipped = max(0, round((t - last_t) * reader.info.fps) - 1) if ordinal else 0
            yield _picture(decoded, t, ordinal, skipped=skipped, stamps=stamps)
            ordinal, last_t = ordinal + 1, t


def _from_here(
    spec: SourceSpec, reader: VideoReader, stop: threading.Event, duration: Fraction
) -> Iterator[tuple[DecodedFrame, float, StampReport]]:
    """Frames from now on with their capture times, cycle after cycle, until stopped or far behind the clock."""
    started_at, wall = WALL.now(), _SetBack()
    cycle = math.floor(Fraction(started_at) / duration)
    begin_s = float(Fraction(started_at) - cycle * duration)
    while True:
        end_s = 0.0
        for decoded, end_s, stamps in _unbroken(spec, reader, begin_s):
            t = float(cycle * duration + Fraction(end_s))
            if t < started_at:
                continue  # between the last key frame and this moment
            if wall.was_set_back():
                raise ClockSteppedError
            wait_s = t - WALL.now()
            if stop.wait(max(0.0, wait_s)) or wait_s < -BEHIND_S:
                return
            yield decoded, t, stamps
        if abs(end_s - float(duration)) > LONGEST_GAP_S:
            raise _cannot_be_looped(spec, f"it ends after {end_s:.1f} s, though it states {float(duration):.1f} s")
        cycle, begin_s = cycle + 1, 0.0


class _SetBack:
    """Notices that the wall clock was set back since this object was made."""

    def __init__(self) -> None:
        self._ahead_s = WALL.now() - steady_s()

    def was_set_back(self) -> bool:
        return WALL.now() - steady_s() < self._ahead_s - CLOCK_STEP_S


def _unbroken(
    spec: SourceSpec, reader: VideoReader, begin_s: float
) -> Iterator[tuple[DecodedFrame, float, StampReport]]:
    """Frames of a looped file from the key frame before `begin_s`, with their positions; jumps are mended."""
    reader.seek(begin_s)
    clock = FileClock(1.0 / reader.info.fps, reader.turn_s)
    first_s: float | None = None
    for decoded in reader.frames():
        stated_s = _position_s(spec, reader, decoded)
        if first_s is None and stated_s > begin_s + LONGEST_GAP_S:
            raise _cannot_be_looped(spec, f"its timestamps lead from {begin_s:.1f} s to {stated_s:.1f} s")
        first_s = stated_s if first_s is None else first_s
        since_first_s = clock.position(decoded.pts_s)
        yield decoded, stated_s if clock.report.is_clean else first_s + since_first_s, clock.report


def _cannot_be_looped(spec: SourceSpec, why: str) -> SourceError:
    hint = "convert it to MP4, with new timestamps"
    return SourceError(SourceFailure.NOT_VIDEO, spec.label, f"cannot be looped: {why}", hint=hint)


def _position_s(spec: SourceSpec, reader: VideoReader, decoded: DecodedFrame) -> float:
    if decoded.pts_s is None:
        detail = "cannot be looped: its frames have no times"
        raise SourceError(SourceFailure.NOT_VIDEO, spec.label, detail, hint="convert it to MP4")
    return decoded.pts_s - reader.start_s


def play_live(spec: SourceSpec, reader: VideoReader, stop: threading.Event) -> Iterator[Picture]:
    """A stream as it arrives. It has no end, so the iteration ends with an error."""
    is_paced = not spec.is_rtsp and reader.comes_in_bursts
    pace = _even_pace(stop) if is_paced else _arrival
    clock = CaptureClock(
        1.0 / reader.info.fps, has_own_stamps=reader.has_own_stamps, is_paced=is_paced, turn_s=reader.turn_s
    )
    last_arrival = -math.inf
    for ordinal, decoded in enumerate(reader.frames()):
        time_s = clock.advance(decoded.pts_s, decoded.arrived_at)
        arrived_at = pace(time_s, decoded.arrived_at)
        if stop.is_set():
            return
        if arrived_at < last_arrival - CLOCK_STEP_S:
            raise ClockSteppedError
        last_arrival = arrived_at
        if decoded.ntp_s is not None and decoded.pts_s is not None:
            clock.observe_ntp(decoded.pts_s, decoded.ntp_s, arrived_at)
        yield _picture(decoded, clock.date(time_s, arrived_at), ordinal, stamps=clock.report)
    raise SourceError(SourceFailure.UNREACHABLE, spec.label, "the stream ended", after_pictures=True)


def _arrival(_: float, arrived_at: float) -> float:
    return arrived_at


def _even_pace(stop: threading.Event) -> Callable[[float, float], float]:
    """Hold frames back to the pace of the stream: HLS comes in bursts, segments of several seconds."""
    anchor: list[float] = []

    def hold(time_s: float, arrived_at: float) -> float:
        due = time_s + anchor[0] if anchor else arrived_at
        # The buffer ran empty, or a new time line begins: this frame is due now.
        if not anchor or arrived_at > due or due - arrived_at > 60.0:
            anchor[:] = [arrived_at - time_s]
            return arrived_at
        stop.wait(due - WALL.now())
        return due

    return hold


def _picture(
    decoded: DecodedFrame,
    t: float,
    ordinal: int,
    *,
    skipped: int = 0,
    position_s: float = 0.0,
    stamps: StampReport = CLEAN,
) -> Picture:
    shape = decoded.shape
    return Picture(decoded.picture, t, shape.size_wh, ordinal, skipped, position_s, shape.orientation, stamps)
