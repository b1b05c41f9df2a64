"""A reader's pictures for every model that looks at them: the same ones, chosen once by the camera's rate."""

import time
from collections.abc import Callable

from countline_common.errors import CountlineError
from countline_pipelines.planes.meters import RateMeter
from countline_pipelines.planes.software.source.feeder import Feeder
from countline_pipelines.planes.software.source.reader import ReadState
from countline_pipelines.planes.software.source.scaling import SharedScaler
from countline_pipelines.sources import Picture, VideoInfo
from countline_pipelines.sources.clock import RateGate


class Tee:
    """Hands pictures to feeders, in the order in which these came; called from the reader's thread.

    `attach` and `detach` come from the event loop and hold from the next picture on.

    Args:
        rate: frames a second that are looked at; 0 for all.
        on_state: told of the reader's states.
    """

    def __init__(self, rate: float, on_state: Callable[[ReadState, CountlineError | None], None]) -> None:
        self._rate = rate
        self._gate = RateGate(rate)
        self._on_state = on_state
        self._feeders: tuple[Feeder, ...] = ()
        self._scaler = SharedScaler()
        self.info: VideoInfo | None = None
        self.position_s = 0.0
        self.meter = RateMeter()

    def attach(self, feeder: Feeder) -> None:
        """Hand pictures to it too."""
        self._feeders = (*self._feeders, feeder)

    def detach(self, feeder: Feeder) -> None:
        """Hand it none any more."""
        self._feeders = tuple(each for each in self._feeders if each is not feeder)
        self._scaler = SharedScaler()  # another, so that no picture of a size is kept that nobody takes

    def opened(self, info: VideoInfo) -> None:
        """Note what the container says."""
        self.info = info

    def restart(self) -> None:
        """Begin new runs with the next picture."""
        self._gate = RateGate(self._rate)
        for feeder in self._feeders:
            feeder.restart()

    def changed(self, state: ReadState, error: CountlineError | None) -> None:
        """Pass the reader's state on."""
        self._on_state(state, error)

    def take(self, picture: Picture) -> None:
        """Hand a picture to everyone."""
        self.meter.tick(time.monotonic())
        self.position_s = picture.position_s
        looked_at, scaler = self._gate.passes(picture.t), self._scaler
        for feeder in self._feeders:
            feeder.take(picture, scaler, looked_at=looked_at)
