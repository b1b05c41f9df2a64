"""What a source states about its video, and what its first picture shows."""

from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final

import av
from av.codec.hwaccel import HWAccel

from countline_pipelines.sources.errors import SourceError, SourceFailure
from countline_pipelines.sources.holes import HoleFinder, Lacks
from countline_pipelines.sources.reading.asf import asf_duration_s, asf_lacks_pictures
from countline_pipelines.sources.reading.opened import DecodedFrame, OpenRecording
from countline_pipelines.sources.reading.recordings import Recordings
from countline_pipelines.sources.spec import SourceSpec
from countline_pipelines.sources.tracks import pick_track
from countline_pipelines.sources.warnings import SourceWarnings, WarningCode

_DEFAULT_FPS: Final = Fraction(25)
_FASTEST_FPS: Final = 1000
_ASF: Final = "asf"
_AVI: Final = "avi"
"""FFmpeg shortens its duration if the file is cut off. The number of frames stays that of the header."""
_EVEN_CODECS: Final = frozenset({"mpeg1video", "mpeg2video"})
"""Codecs that have one frame rate: their pictures are never held."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source states about its video, and what its first picture shows."""

    width: int
    height: int
    """As displayed, in square pixels."""
    fps: float
    """25 if the container states nothing."""
    duration_s: Fraction | None
    """Of the video; None for streams."""
    frames: int
    """Number of frames; 0 if the container states nothing."""
    codec: str


@dataclass(frozen=True, slots=True)
class Lengths:
    """What the headers of a source's recordings state."""

    durations_s: tuple[Fraction | None, ...]
    """Of each recording; None where nothing is stated. The list ends early if a recording cannot be opened."""
    frames: int
    """Of all recordings; 0 if nothing is stated."""

    @property
    def duration_s(self) -> Fraction | None:
        """Of all recordings; None if nothing is stated."""
        known = [duration for duration in self.durations_s if duration is not None]
        return sum(known, Fraction(0)) if known else None

    def of(self, number: int) -> float | None:
        """Stated duration of a recording, seconds; None if unknown."""
        stated_s = self.durations_s[number] if number < len(self.durations_s) else None
        return None if stated_s is None else float(stated_s)

    def before(self, number: int) -> float:
        """Where a recording begins in the file, seconds."""
        return float(sum((each or 0 for each in self.durations_s[:number]), Fraction(0)))


def lengths_of(recordings: Recordings, first: OpenRecording, accel: HWAccel | None) -> Lengths:
    """Return what the headers state; opens each recording after the first for a moment."""
    durations = [_duration_s(first.container, first.stream)]
    frames = first.stream.frames or 0
    for number in range(1, len(recordings)):
        with suppress(SourceError), recordings.open(number, accel) as container:
            more = pick_track(container, recordings.spec.label, None)
            durations.append(_duration_s(container, more))
            frames += more.frames or 0
    return Lengths(tuple(durations), frames)


def _duration_s(container: Any, stream: Any) -> Fraction | None:
    if stream.duration and stream.time_base:
        stated = Fraction(stream.duration) * Fraction(stream.time_base)
        if container.format.name == _AVI and stream.average_rate:
            return max(stated, Fraction(stream.frames) / Fraction(stream.average_rate))
        return stated
    # With several streams, the container's duration may be that of a longer sound track.
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration, av.time_base)
    return asf_duration_s(Path(container.name)) if container.format.name == _ASF else None


def hole_finder(spec: SourceSpec, opened: OpenRecording, fps: float, warnings: SourceWarnings) -> HoleFinder:
    """Return what finds the holes of a source."""
    is_alone = len(opened.container.streams) == 1
    is_even = opened.stream.codec_context.name in _EVEN_CODECS
    lacks: Lacks | None = None
    if opened.container.format.name == _ASF and not spec.is_network:
        lacks = partial(asf_lacks_pictures, Path(spec.url), opened.stream.id)
    elif opened.container.format.name == _AVI:
        lacks = partial(_avi_lacks_pictures, opened.stream)
    return HoleFinder(warnings, spec.label, 1.0 / fps, is_alone=is_alone, lacks=lacks, is_even=is_even)


def _avi_lacks_pictures(stream: Any, pts_s: tuple[float, float], _: tuple[int, int]) -> bool:
    """Return whether the index of an AVI has pictures between two. FFmpeg leaves out those that hold the one before."""
    first, last = (round(each / stream.time_base) for each in pts_s)
    following = bisect_right(stream.index_entries, first, key=lambda entry: entry.timestamp)
    return following < len(stream.index_entries) and stream.index_entries[following].timestamp < last


def stated_fps(spec: SourceSpec, opened: OpenRecording, warnings: SourceWarnings) -> float:
    """Return the frame rate that a source states; 25 if it states none."""
    stream = opened.stream
    rate = stream.average_rate or stream.guessed_rate or _DEFAULT_FPS
    if not opened.has_own_stamps and not spec.is_network:
        rate = _assumed_rate(spec.label, stream, rate, warnings)
    return float(rate) if 0 < rate <= _FASTEST_FPS else float(_DEFAULT_FPS)


def _assumed_rate(label: str, stream: Any, rate: Fraction, warnings: SourceWarnings) -> Fraction:
    """Return the frame rate of a stream without a container, whose pictures have no times."""
    stated = stream.codec_context.framerate
    is_stated = bool(stated and 0 < stated <= _FASTEST_FPS)
    used = stated if is_stated else rate
    source = "as its header states" if is_stated else "because its header states none"
    message = f"{label}: its pictures have no times; {float(used):g} frames per second are assumed, {source}"
    hint = "if the rate is wrong, write it into a file with times: ffmpeg -framerate FPS -i IN -c copy OUT.mp4"
    warnings.put(WarningCode.ASSUMED_RATE, message, hint)
    return Fraction(used)


def describe(label: str, opened: OpenRecording, first: DecodedFrame | None, fps: float, lengths: Lengths) -> VideoInfo:
    """Return the description of a source.

    Args:
        label: the source without its credentials.
        opened: its recording that is open.
        first: its first picture; None if there is none: then the header states the size.
        fps: frame rate that the source states.
        lengths: what its headers state.

    Raises:
        SourceError: there is neither a picture nor a size in the header.
    """
    context = opened.stream.codec_context
    if first is not None:
        width, height = first.shape.size_wh
        if not opened.stream.average_rate and first.duration_s >= 1.0 / _FASTEST_FPS:
            fps = 1.0 / first.duration_s
    elif context.width < 1 or context.height < 1:
        raise SourceError(SourceFailure.BAD_PICTURE, label, "no picture can be decoded")
    else:
        width, height = context.width, context.height
    return VideoInfo(width, height, fps, lengths.duration_s, lengths.frames, context.name)
