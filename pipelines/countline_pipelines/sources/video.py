"""One open video: FFmpeg through PyAV, with a deadline for every call, and `SourceError` for every error.

Use a reader from one thread. FFmpeg releases the interpreter's lock, so a thread for each camera is cheap. FFmpeg asks
its interrupt callback (PyAV's `timeout`) while it waits for a network; that enforces the deadlines.

Frames, times and their order are the same on GPU and CPU (decoding.py). A GPU that fails in the middle of a file costs
no frame: the file is opened again for the CPU, which goes on after the last yielded frame. A live stream cannot be read
twice, so it breaks and is opened again, as after any break.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Self

from countline_pipelines.sources.decoding import Decoder, Decoding
from countline_pipelines.sources.errors import SourceError
from countline_pipelines.sources.pacing import BurstMeter
from countline_pipelines.sources.reading.ahead import ReadAhead, read_ahead, with_arrivals
from countline_pipelines.sources.reading.decoder import GpuFailedError, PacketDecoder
from countline_pipelines.sources.reading.description import describe, hole_finder, lengths_of, stated_fps
from countline_pipelines.sources.reading.opened import DecodedFrame, OpenRecording
from countline_pipelines.sources.reading.recordings import Recordings
from countline_pipelines.sources.reading.watch import PictureWatch
from countline_pipelines.sources.spec import SourceSpec
from countline_pipelines.sources.warnings import SourceWarnings


class VideoReader:
    """An open source and the first of its video tracks that moves.

    Args:
        spec: what to open.
        decoding: what may decode; by default the CPU alone.
        warnings: gets what a person should know about the source.
        stop: ends a wait for the first picture.

    Raises:
        SourceError: the source cannot be opened, has no video, sends no key frame in time, or only the GPU may decode
            it and refuses.
    """

    def __init__(
        self,
        spec: SourceSpec,
        decoding: Decoding | None = None,
        *,
        warnings: SourceWarnings | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        began = time.monotonic()
        self._spec = spec
        self.warnings = warnings if warnings is not None else SourceWarnings()
        self._stop = stop or threading.Event()
        self._decoder = PacketDecoder(spec, decoding or Decoding())
        self._watch = PictureWatch(spec, self.warnings)
        self._sought_s: float | None = None
        self._recordings = Recordings(spec, self.warnings)
        self._read_ahead: ReadAhead | None = None
        self._begin()
        self._watch.waited_s = time.monotonic() - began
        try:
            fps = stated_fps(spec, self._opened, self.warnings)
            self._lengths = lengths_of(self._recordings, self._opened, self._decoder.accel)
            self._holes = hole_finder(spec, self._opened, fps, self.warnings)
            self._ahead: Iterator[DecodedFrame] | None = self._all()
            self._first = next(self._ahead, None)
            self.info = describe(spec.label, self._opened, self._first, fps, self._lengths)
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self._decoder.choose()
        self._open(0)
        try:
            self._decoder.opened(self._opened.stream.codec_context)
        except BaseException:
            self.close()
            raise

    def _open(self, number: int) -> None:
        self._opened = OpenRecording(self._recordings, number, self._decoder.accel, self.warnings)

    @property
    def decoder(self) -> Decoder | None:
        """What decodes; None until the first picture shows it."""
        return self._decoder.used

    @property
    def refusal(self) -> str:
        """Why the CPU decodes though there is a GPU; empty otherwise."""
        return self._decoder.refusal

    @property
    def broken_packets(self) -> int:
        """Number of packets that could not be decoded."""
        return self._decoder.broken_packets

    @property
    def has_own_stamps(self) -> bool:
        """Whether the source has presentation times; if not, FFmpeg counts frames at a rate that it assumes."""
        return self._opened.has_own_stamps

    @property
    def turn_s(self) -> float:
        """After which time the counter of the presentation times starts again; infinite if it never does."""
        return self._opened.turn_s

    @property
    def comes_in_bursts(self) -> bool:
        """Whether a network source comes faster than it was recorded: in segments, or as a file."""
        return self._spec.is_network and (self._opened.is_segmented or self.info.duration_s is not None)

    @property
    def burst_meter(self) -> BurstMeter | None:
        """Measures the stamps of a live stream in segments, which is read ahead; None for others."""
        return None if self._read_ahead is None else self._read_ahead.meter

    @property
    def is_whole_file(self) -> bool:
        """Whether a network source is a file with an end: it states a duration, or its server states its length.

        Some cameras state a false length for their endless stream of pictures.
        """
        return self.info.duration_s is not None or self._opened.has_length

    @property
    def start_s(self) -> float:
        """Presentation time of the first frame, as the header states it, in seconds."""
        return self._opened.start_s

    def frames(self) -> Iterator[DecodedFrame]:
        """Every frame from here to the end, in order of presentation.

        Raises:
            SourceError: the source broke, was silent for too long, or sends no decodable pictures.
        """
        first, self._first = self._first, None
        ahead, self._ahead = self._ahead or self._all(), None
        if first is not None:
            yield first
        yield from ahead

    def _all(self) -> Iterator[DecodedFrame]:
        given = 0
        while True:
            try:
                for decoded in islice(self._frames(), given, None):
                    given += 1
                    yield decoded
            except GpuFailedError as error:
                detail = str(error)
            else:
                return
            self._go_on_without_gpu(detail)  # outside `except`, where no traceback holds the decoder that failed

    def _go_on_without_gpu(self, detail: str) -> None:
        """Go back to where `frames` began, with the CPU."""
        self._decoder.rest_gpu(detail)
        self.close()
        self._begin()
        if self._sought_s is not None:
            self.seek(self._sought_s)

    def _frames(self) -> Iterator[DecodedFrame]:
        yield from self._frames_of(0)
        for number in range(1, len(self._recordings)):
            self._go_on_with(number)
            yield from self._frames_of(number)
        opened = self._opened
        self._recordings.check_all_read(opened.read_to, opened.container.format.name, self._holes.read_until_s)

    def _go_on_with(self, number: int) -> None:
        """Open a recording that was appended to the file."""
        self.close()
        try:
            self._open(number)
        except SourceError as error:
            raise self._recordings.unread_from(number, self._holes.read_until_s, error.message) from None

    def _frames_of(self, number: int) -> Iterator[DecodedFrame]:
        opened = self._opened
        if self._sought_s is None:
            start_s = None if opened.stream.start_time is None else opened.start_s
            self._holes.begin(self._lengths.before(number), start_s)
        packets = opened.packets(self._stop, self._watch, self._holes.broken)
        self._read_ahead = read_ahead(self._spec, opened, packets, self.warnings)
        for packet, arrived_at in self._read_ahead or with_arrivals(packets):
            pictures = self._decoder.decode(packet, opened.stream.codec_context)
            if pictures is None:
                self._holes.broken()
            if pictures:
                self._watch.picture()
            else:
                self._no_picture()
            for picture in pictures or ():
                decoded = opened.show(picture, arrived_at)
                if not self._spec.is_network:
                    is_after_hole = self._holes.picture(decoded.pts_s, decoded.duration_s, opened.read_to)
                    decoded = replace(decoded, is_after_hole=is_after_hole)
                yield decoded
            if packet.is_corrupt:
                self._holes.incomplete()
        self._holes.end(self._lengths.of(number), opened.read_to, opened.unread)

    def _no_picture(self) -> None:
        self._watch.no_picture()
        if self._watch.is_hopeless:
            self._decoder.blame_gpu(self._opened.stream.codec_context, "gives no pictures")
        self._watch.check()

    def seek(self, position_s: float) -> None:
        """Go to the last key frame at or before a position, seconds from the first frame."""
        self._first = self._ahead = None
        self._sought_s = position_s
        self._holes.begin(0.0, None)
        self._opened.seek(position_s)

    def close(self) -> None:
        """Close the source; safe to call twice."""
        (self._opened if self._read_ahead is None else self._read_ahead).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
