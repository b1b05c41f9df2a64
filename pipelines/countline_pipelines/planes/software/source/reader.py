"""The thread of one camera: it opens the source, hands over pictures, and opens the source again when it breaks.

    OPENING --first picture--> PLAYING --end of a finite file--> FINISHED
       ^  ^                      |
       |  +--wait-- BROKEN <-----+      a fault that may pass: retried after 0.3 to 4 s
       +----long wait-- FAILED          a fault that a person has to mend: retried every 30 s

A caller that stops the thread need not wait for it: a read that hangs ends by its own deadline, and the thread hands
over nothing after `stop`.
"""

import threading
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, Protocol

from countline_common.display import PictureShape
from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_pipelines import metrics
from countline_pipelines.pauses import SourcePauses
from countline_pipelines.sources import (
    ClockSteppedError,
    Decoder,
    Decoding,
    Picture,
    Playback,
    SourceError,
    SourceFailure,
    SourceSpec,
    SourceWarning,
    SourceWarnings,
    VideoInfo,
    VideoReader,
    WarningCode,
    play,
)
from countline_pipelines.sources.errors import CURABLE_BY_WAITING

WELL_AFTER_S: Final = 5.0
"""After a connection that held for this long, the next attempt follows soon."""
NEW_LINES_WITHIN_S: Final = 5.0
"""If a finite file shows another picture than its camera did before, the lines get new versions, and the file begins
again with them. Nothing is counted for so long, because it would be counted twice."""
_log = get_logger(__name__)


class ReadState(StrEnum):
    """What the thread reports."""

    PLAYING = "playing"
    BROKEN = "broken"
    FAILED = "failed"
    FINISHED = "finished"


class Consumer(Protocol):
    """Takes the pictures; called from the reader's thread."""

    def opened(self, info: VideoInfo) -> None:
        """The source was opened; pictures follow."""
        ...

    def take(self, picture: Picture) -> None:
        """Take a picture. May block for a file, must not block for a live source."""
        ...

    def restart(self) -> None:
        """The next picture does not continue the last one: a finite file begins again, or the clock was set."""
        ...

    def changed(self, state: ReadState, error: CountlineError | None) -> None:
        """The state changed, or its reason did."""
        ...


class SourceReader:
    """Owns the thread.

    Args:
        name: of the thread, in logs and metrics: the camera's id.
        spec: what to read.
        consumer: takes the pictures.
        once: give up at the first failure that ends the source, as a command on one file does.
        decoding: what may decode; by default the CPU alone.
        picture: the displayed picture that is expected; None for any.
    """

    def __init__(
        self,
        name: str,
        spec: SourceSpec,
        consumer: Consumer,
        *,
        once: bool = False,
        decoding: Decoding | None = None,
        picture: PictureShape | None = None,
    ) -> None:
        self._decoders = {decoder: metrics.DECODER.labels(name, decoder) for decoder in Decoder}
        self._refusals = metrics.DECODER_REFUSALS.labels(name)
        self._decoding = decoding
        self._decoder: tuple[Decoder | None, str] = (None, "")
        """The decoder that was reported last, and why the CPU decodes though there is a GPU."""
        self._spec = spec
        self._consumer = consumer
        self._once = once
        self._log = _log.bind(camera=name, source=spec.label)
        self._pauses = SourcePauses()
        self.gave_up = False
        """True once no more attempts will be made."""
        self.warnings = SourceWarnings(None if once else self._log_warning)
        """Of the source as it is open now. A command on one file prints them itself."""
        self._shape = picture
        self.picture: PictureShape | None = None
        """The displayed picture; None before the first. Of a file: the first one since it was opened, in its newest
        size. Another one comes again each time that the file is counted, so it is no change of the camera."""
        self.stop_event = threading.Event()
        self._resumed = threading.Event()
        self._resumed.set()
        self._thread = threading.Thread(target=self._run, name=f"source-{name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it hands over nothing after that."""
        self.stop_event.set()
        self._resumed.set()
        for gauge in self._decoders.values():
            gauge.set(0)

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; false when it has not ended in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def pause(self) -> None:
        """Hand over nothing until `resume`: a file waits where it is, a stream is closed and opened again."""
        self._resumed.clear()

    def resume(self) -> None:
        """Undo `pause`."""
        self._resumed.set()

    def _run(self) -> None:
        try:
            while not self.stop_event.is_set():
                self._resumed.wait()
                if self._attempt():
                    return
        except Exception as error:  # noqa: BLE001  (the thread's last resort: a camera must not die silently)
            self._log.exception("source.crashed")
            self._consumer.changed(ReadState.FAILED, _crash(error))

    def _attempt(self) -> bool:
        """Open and play once. Return whether the thread is done."""
        began = time.monotonic()
        try:
            self._play()
        except SourceError as error:
            if time.monotonic() - began > WELL_AFTER_S:
                self._pauses.reset()
            error.__context__ = None  # this and the traceback would hold the decoder during the wait
            return self._failed(error.with_traceback(None))
        except ClockSteppedError:
            self._log.warning("source.clock_stepped")
            self._consumer.restart()
            return False
        if self.stop_event.is_set() or not self._spec.playback.is_finite:
            return self.stop_event.is_set()
        self._report(ReadState.FINISHED, None)
        return True

    def _play(self) -> None:
        finite = self._spec.playback.is_finite
        self.warnings.reopened()
        with VideoReader(self._spec, self._decoding, warnings=self.warnings, stop=self.stop_event) as video:
            self._consumer.opened(video.info)
            self._log.info("source.opened", size=f"{video.info.width}x{video.info.height}", codec=video.info.codec)
            try:
                self._hand_over(video, play(self._spec, video, self.stop_event), finite=finite)
            finally:
                if video.broken_packets:
                    self._log.warning("source.broken_packets", packets=video.broken_packets)
                if finite:
                    self._log_holes()

    def _hand_over(self, video: VideoReader, pictures: Iterator[Picture], *, finite: bool) -> None:
        is_playing = False
        for picture in pictures:
            if not self._resumed.is_set():
                if not finite:
                    self._consumer.restart()
                    return
                self._resumed.wait()
            if self.stop_event.is_set():
                return
            if self._decoder != (video.decoder, video.refusal):
                self._report_decoder(video)
            is_other = self._compare(picture)
            if not is_playing or self._spec.playback is Playback.LIVE or self._is_resized(picture):
                self.picture = picture.shape
            if not is_playing:
                is_playing = True
                if is_other and finite:
                    self.stop_event.wait(NEW_LINES_WITHIN_S)
                self._report(ReadState.PLAYING, None)
            self._consumer.take(picture)

    def _is_resized(self, picture: Picture) -> bool:
        return self.picture is not None and self.picture.matches(picture.shape)

    def _compare(self, picture: Picture) -> bool:
        """Warn if a picture is displayed in another shape than the pictures before, also over a reconnection.

        Return whether it is.
        """
        shape, self._shape = self._shape, picture.shape
        if shape is None or shape.matches(self._shape):
            return False
        message = f"{self._spec.label}: the picture changed from {shape} to {self._shape}"
        self.warnings.put(WarningCode.PICTURE_CHANGED, message, "check the lines and zones, and draw them again")
        return True

    def _log_warning(self, warning: SourceWarning) -> None:
        self._log.warning(f"source.{warning.code.value}", warning=warning.message)

    def _log_holes(self) -> None:
        """Log all holes of a file; the first was logged when it was met."""
        for warning in self.warnings.all():
            if warning.code is WarningCode.HOLE and not self._once:
                self._log_warning(warning)

    def _report_decoder(self, video: VideoReader) -> None:
        self._decoder = (video.decoder, video.refusal)
        for decoder, gauge in self._decoders.items():
            gauge.set(decoder is video.decoder)
        if video.refusal:
            self._refusals.inc()
            self._log.warning("source.decoded_on_cpu", why=video.refusal, codec=video.info.codec)
        elif video.decoder is Decoder.NVDEC:
            self._log.info("source.decoded_on_gpu", codec=video.info.codec)

    def _failed(self, error: SourceError) -> bool:
        if self.stop_event.is_set():
            return True
        finite = self._spec.playback.is_finite
        if error.after_pictures and (finite or self._once):
            truncated = error.failure is SourceFailure.TRUNCATED
            self._report(ReadState.FINISHED, error if truncated else None)
            return True
        self._log.warning("source.failed", failure=error.failure.value, error=error.message)
        passing = error.failure in CURABLE_BY_WAITING and not finite
        self.gave_up = self._once
        self._report(ReadState.BROKEN if passing else ReadState.FAILED, error)
        if self.gave_up:
            return True
        self.stop_event.wait(self._pauses.next_s(curable=passing))
        if finite:
            self._consumer.restart()
        return False

    def _report(self, state: ReadState, error: CountlineError | None) -> None:
        if not self.stop_event.is_set():
            self._consumer.changed(state, error)


def _crash(error: Exception) -> CountlineError:
    return CountlineError(
        f"reading the source crashed: {type(error).__name__}: {error}", hint="this is a bug in Countline; see the log"
    )
