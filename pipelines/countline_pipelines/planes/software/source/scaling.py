"""Pictures scaled to the inputs of models: once for all inputs of one size, as versions of one model have them."""

import time
from typing import Any

from countline_common.triton.letterbox import Letterbox, Scaler
from countline_pipelines import metrics
from countline_pipelines.sources import Picture


class SharedScaler:
    """Keeps the newest picture of each size; used from one reader's thread. Callers must not write to its pictures."""

    def __init__(self) -> None:
        self._scalers: dict[tuple[int, int], Scaler] = {}
        self._newest: dict[tuple[int, int], tuple[Picture, Any]] = {}
        self._time = metrics.STAGE_SECONDS.labels("scale")

    def scale(self, picture: Picture, box: Letterbox) -> Any:
        """The picture (av.VideoFrame), scaled as `box` says."""
        known = self._newest.get(box.input_wh)
        if known is not None and known[0] is picture:
            return known[1]
        began = time.monotonic()
        scaled = self._scalers.setdefault(box.input_wh, Scaler()).scale(picture.frame, box)
        self._time.observe(time.monotonic() - began)
        self._newest[box.input_wh] = (picture, scaled)
        return scaled
