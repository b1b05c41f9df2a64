"""Scores of tracked boxes, which DeepStream reports only for boxes that the detector saw."""

import numpy as np
from numpy.typing import NDArray

from countline_counting.rules import OBJECT_UNSEEN_S


class ScoreMemory:
    """The last detector score of each track; a box that the tracker predicts has no score of its own.

    A track is forgotten when it is unseen for `OBJECT_UNSEEN_S`: from then on its id means another object.
    """

    def __init__(self) -> None:
        self._scores: dict[int, tuple[float, float]] = {}
        self._swept_at = float("-inf")

    def completed(self, ids: NDArray[np.int64], scores: NDArray[np.float64], t: float) -> NDArray[np.float64]:
        """The scores, each value below 0 replaced.

        Args:
            ids: (N,) of the tracks.
            scores: (N,) of the detector; below 0 for a predicted box.
            t: capture time of the frame, seconds.

        Returns:
            (N,) the detector's last score of each track; 0 for a track that the detector never saw.
        """
        filled = scores.copy()
        for row, (track, score) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True)):
            known = score if score >= 0 else self._scores.get(track, (0.0, t))[0]
            filled[row], self._scores[track] = known, (known, t)
        if not self._swept_at <= t < self._swept_at + OBJECT_UNSEEN_S:
            self._swept_at = t
            self._scores = {track: last for track, last in self._scores.items() if abs(t - last[1]) <= OBJECT_UNSEEN_S}
        return filled

    def __len__(self) -> int:
        return len(self._scores)
