"""A reader's pictures for every model that looks at them: the same pictures, chosen once by the camera's rate."""

import time
from collections.abc import Callable

from countline_common.errors import CountlineError
from countline_pipelines.planes.meters import RateMeter
from countline_pipelines.planes.software.source.feeder import CameraFeed, Feeder
from countline_pipelines.planes.software.source.reader import ReadState
from countline_pipelines.planes.software.source.scaling import SharedScaler
from countline_pipelines.planes.stamps import StampWatch
from countline_pipelines.sources import Picture, VideoInfo
from countline_pipelines.sources.clock import RateGate


class Tee:
    """A `Consumer` that hands each picture to all feeders, in the order in which they were attached.

    The reader's thread calls it. `attach` and `detach` are called on the event loop and hold from the next picture on.

    Args:
        feed: of the camera; learns the stated frame rate.
        stamps: watches the presentation times.
        rate: frames a second that are looked at; 0 for all.
        on_state: called with each state of the reader and its reason.
    """

    def __init__(
        self,
        feed: CameraFeed,
        rate: float,
        stamps: StampWatch,
        on_state: Callable[[ReadState, CountlineError | None], None],
    ) -> None:
        self._feed = feed
        self.stamps = stamps
        self._rate = rate
        self._gate = RateGate(rate)
        self._on_state = on_state
        self._feeders: tuple[Feeder, ...] = ()
        self._scaler = SharedScaler()
        self.info: VideoInfo | None = None
        """Of the source as it was last opened; None before."""
        self.position_s = 0.0
        """Of the last picture, seconds from the start of a file; 0 for streams."""
        self.meter = RateMeter()

    def attach(self, feeder: Feeder) -> None:
        """Hand pictures to this feeder too."""
        self._feeders = (*self._feeders, feeder)

    def detach(self, feeder: Feeder) -> None:
        """Hand no more pictures to this feeder."""
        self._feeders = tuple(each for each in self._feeders if each is not feeder)
        self._scaler = SharedScaler()  # a new one, so that no picture is kept of a size that is no longer needed

    def opened(self, info: VideoInfo) -> None:
        """Keep what the container states."""
        self.info, self._feed.stated_fps = info, info.fps
        self.stamps.opened()

    def restart(self) -> None:
        """Begin new runs with the next picture."""
        self._gate = RateGate(self._rate)
        for feeder in self._feeders:
            feeder.restart()

    def changed(self, state: ReadState, error: CountlineError | None) -> None:
        """Pass the reader's state on."""
        self._on_state(state, error)

    def take(self, picture: Picture) -> None:
        """Hand a picture to every feeder."""
        self.meter.tick(time.monotonic())
        self.position_s = picture.position_s
        self.stamps.observe(picture.stamps)
        looked_at, scaler = self._gate.passes(picture.t), self._scaler
        for feeder in self._feeders:
            feeder.take(picture, scaler, looked_at=looked_at)
