"""From tracked boxes to sights of objects: ids healed, duplicates removed, cut boxes completed.

Only this module knows both the ids of the tracker (*raw* ids) and the objects behind them.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.frames import TrackedFrame
from countline_counting.geometry.segments import Floats
from countline_counting.objects.boxes import without_duplicates
from countline_counting.objects.doubles import Doubles, Second
from countline_counting.objects.facts import BoxesLeftOut, ObjectBegan, ObjectListener, TrackUnconfirmed
from countline_counting.objects.fragments import RUNNING_SLACK_S, Fragments
from countline_counting.objects.healing import Fragment
from countline_counting.objects.hindsight import Hindsight
from countline_counting.objects.masks import anchors
from countline_counting.objects.showing import Showing
from countline_counting.objects.sights import Observations, Sights
from countline_counting.objects.table import Objects
from countline_counting.reasons import Reason
from countline_counting.tracking import TrackerSettings


class Sightings:
    """The objects of one camera, and which raw id stands for which object.

    Args:
        anchor: the point of a box that is counted, as fractions of its width and height.
        trusted: whether a raw id that was seen only once is an object. If not, it may be a false detection and is
            dropped.
        listener: receives new objects, and the boxes and fragments that are left out.
        tracking: settings of the tracker.
    """

    def __init__(
        self,
        anchor: tuple[float, float],
        *,
        trusted: bool,
        listener: ObjectListener | None = None,
        tracking: TrackerSettings | None = None,
    ) -> None:
        self.objects = Objects()
        self.showing = Showing(self.objects, anchor, feet_may_hide=trusted)
        self._listener = listener
        self._trusted = trusted
        self._row_of: dict[int, int] = {}
        self._raw_of: dict[int, int] = {}
        self._fragments = Fragments(self.objects, trusted=trusted)
        self._doubles = Doubles(self.objects)
        self._hindsight = Hindsight(tracking or TrackerSettings())
        self._t = float("-inf")

    @property
    def seen_until(self) -> float:
        """Capture time until which all sights were returned, apart from those of fragments that wait."""
        return self._hindsight.seen_until

    def take(
        self, frame: TrackedFrame, running_s: float, estimates: Floats | None = None, noise_ratio: float = 0.0
    ) -> list[Sights]:
        """Take the tracks of a frame; return the sights to count, in the order of time for each object.

        Args:
            frame: the tracks.
            running_s: running time of the stream.
            estimates: (N, 14) of the tracks; None for those of another tracker.
            noise_ratio: how noisy boxes are (`MotionModel.noise_ratio`).
        """
        self._t = frame.t
        if estimates is None:
            estimates = np.zeros((len(frame.ids), 0))
        sights = self._shown(self._hindsight.follow(noise_ratio, frame.t))
        for observed in self._observations(frame, running_s, estimates):
            sights += self._enter(observed)
        if self._fragments:
            sights += self._settle(frame.t)
        return sights + self._shown(self._hindsight.due(frame.t))

    def named(self, frame: TrackedFrame) -> TrackedFrame:
        """Return the frame with the numbers of objects as ids, without duplicates and second boxes."""
        raw_ids = frame.ids.tolist()
        rows = [self._row_of.get(raw_id, -1) for raw_id in raw_ids]
        numbers = self.objects["number"][rows]
        for i, row in enumerate(rows):
            if row < 0:
                numbers[i] = self._number(raw_ids[i])
            elif self.objects["second"][row] == Second.YES:
                numbers[i] = 0
        keep = numbers > 0
        return replace(
            frame,
            ids=numbers[keep],
            xyxy_px=frame.xyxy_px[keep],
            scores=frame.scores[keep],
            classes=frame.classes[keep],
        )

    def expired(self, running_s: float) -> list[int]:
        """Return the rows of objects that were unseen for too long; the caller ends them with `forget`."""
        unseen_s = running_s - self.objects["last_running_s"]
        too_long = unseen_s > rules.OBJECT_UNSEEN_S + RUNNING_SLACK_S
        rows: list[int] = np.nonzero(self.objects["alive"] & too_long)[0].tolist()
        awaited = self._fragments.awaited() if rows else ()
        return [row for row in rows if row not in awaited]

    def settle_all(self) -> list[Sights]:
        """Settle every fragment now, because no more frames come; return these sights and those held back."""
        return [*self._settle(float("inf")), *self.release_all()]

    def release(self, rows: Collection[int]) -> list[Sights]:
        """Return now the sights of some objects that are held back because boxes are noisy."""
        return self._shown(self._hindsight.release(rows))

    def release_all(self) -> list[Sights]:
        """Return now all sights that are held back because boxes are noisy."""
        return self._shown(self._hindsight.release_all())

    def forget(self, row: int) -> None:
        """Free everything that is held for an object."""
        self._row_of.pop(self._raw_of.pop(row), None)
        self.objects.death(row)
        self._doubles.forget(row)

    def _observations(self, frame: TrackedFrame, running_s: float, estimates: Floats) -> list[Observations]:
        """Return the boxes of known objects, if there are any; the others go to the fragments."""
        used = self._single(frame)
        raw_ids = frame.ids[used].tolist()
        rows = np.array([self._row_of.get(raw_id, -1) for raw_id in raw_ids], dtype=np.intp)
        known = rows >= 0
        for i in np.nonzero(~known)[0].tolist():
            at = int(used[i])
            self._fragments.add(raw_ids[i], frame, at, running_s, estimates[at].tolist())
        if not known.any():
            return []
        chosen = used[known]
        moment = np.full(len(chosen), frame.t)
        observed = Observations(
            rows=rows[known],
            t=moment,
            running_s=np.full(len(chosen), running_s),
            frame=np.full(len(chosen), frame.index),
            xyxy_px=frame.xyxy_px[chosen],
            scores=frame.scores[chosen],
            classes=frame.classes[chosen],
            tracks=frame.ids[chosen],
            estimates=estimates[chosen],
            known_at=moment,
            picture_wh=frame.size_wh,
        )
        self._doubles.take(observed.rows, frame.t, observed.xyxy_px)
        return [observed]

    def _number(self, raw_id: int) -> int:
        row = self._row_of.get(raw_id)
        if row is not None:
            return int(self.objects["number"][row])
        return self._fragments.number_of(raw_id)

    def _single(self, frame: TrackedFrame) -> NDArray[np.intp]:
        """Return the indices of boxes without duplicates: of two boxes on one object, the older track is kept."""
        if not self._trusted:
            return np.arange(len(frame.ids))  # `Intake` has removed duplicates before tracking
        boxes = frame.xyxy_px
        valid = np.nonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))[0]  # refuses NaN too

        def rank() -> list[float]:
            return [self._number(raw_id) or self.objects.next_number for raw_id in frame.ids[valid].tolist()]

        keep = without_duplicates(boxes[valid], frame.classes[valid], rank)
        if self._listener is not None and not keep.all():
            doubled = valid[~keep]
            at = anchors(boxes[doubled], self.showing.anchor)
            self._listener(BoxesLeftOut(frame.t, boxes[doubled], at, frame.ids[doubled], Reason.DUPLICATE_BOX))
        return valid[keep]

    def _settle(self, now: float) -> list[Sights]:
        """Give the fragments that have waited long enough to objects; return the sights of these fragments."""
        settled, false = self._fragments.take_due(now)
        if self._listener is not None:
            for fragment in false:
                self._listener(TrackUnconfirmed(self._path_of(fragment)))
        if not settled:
            return []
        rows = [
            self._begin(fragment) if row is None else self._continue(row)
            for fragment, row in zip(settled, self._fragments.rows_of(settled), strict=True)
        ]
        for fragment, row in zip(settled, rows, strict=True):
            self._row_of[fragment.raw_id] = row
            self._raw_of[row] = fragment.raw_id
        return [sights for batch in _by_moment(settled, rows, self._t) for sights in self._enter(batch)]

    def _path_of(self, fragment: Fragment) -> tuple[tuple[float, tuple[float, float]], ...]:
        at = anchors(np.array([seen.xyxy_px for seen in fragment.observed]), self.showing.anchor)
        return tuple((seen.t, (x, y)) for seen, (x, y) in zip(fragment.observed, at.tolist(), strict=True))

    def _continue(self, row: int) -> int:
        del self._row_of[self._raw_of[row]]
        self.objects["stitched"][row] = True
        return row

    def _begin(self, fragment: Fragment) -> int:
        born = fragment.observed[0]
        row = self.objects.birth(fragment.number, born.t, born.running_s)
        if self._listener is not None:
            self._listener(ObjectBegan(row, fragment.number))
        return row

    def _enter(self, observed: Observations) -> list[Sights]:
        """Enter observations into the table of objects; return them as sights, unless these are held back."""
        if not self._hindsight.holds:
            sights, boxes = self.showing.show(observed)
            self.objects.remember(observed, boxes)
            return [sights]
        self.objects.remember(observed, self.showing.whole(observed)[0])
        self._hindsight.hold(observed)
        return []

    def _shown(self, released: Iterable[Observations]) -> list[Sights]:
        return [self.showing.show(observed)[0] for observed in released]


def _by_moment(due: Sequence[Fragment], rows: Sequence[int], now: float) -> list[Observations]:
    """Return the observations of fragments in batches: no object twice in a batch, each object's in order."""
    batches = []
    for column in zip_longest(*(fragment.observed for fragment in due)):
        seen = [(row, fragment.raw_id, o) for row, fragment, o in zip(rows, due, column, strict=True) if o is not None]
        batches.append(
            Observations(
                rows=np.array([row for row, _, _ in seen], dtype=np.intp),
                t=np.array([o.t for *_, o in seen]),
                running_s=np.array([o.running_s for *_, o in seen]),
                frame=np.array([o.frame for *_, o in seen]),
                xyxy_px=np.array([o.xyxy_px for *_, o in seen], dtype=np.float64),
                scores=np.array([o.score for *_, o in seen]),
                classes=np.array([o.class_id for *_, o in seen], dtype=np.int64),
                tracks=np.array([raw_id for _, raw_id, _ in seen], dtype=np.int64),
                estimates=np.array([o.estimate for *_, o in seen], dtype=np.float64),
                known_at=np.full(len(seen), now),
                picture_wh=due[0].picture_wh,
            )
        )
    return batches
