"""From tracked boxes to sights of objects: ids healed, duplicates removed, cut boxes completed.

Only this module knows both the ids of the tracker (*raw* ids) and the objects behind them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.frames import TrackedFrame
from countline_counting.geometry.segments import Floats
from countline_counting.objects.boxes import completed, without_duplicates
from countline_counting.objects.doubles import Doubles, Second
from countline_counting.objects.facts import BoxesLeftOut, ObjectBegan, ObjectListener, TrackUnconfirmed
from countline_counting.objects.fragments import RUNNING_SLACK_S, Fragments
from countline_counting.objects.healing import Fragment
from countline_counting.objects.masks import anchors
from countline_counting.objects.sights import Sights
from countline_counting.objects.table import HISTORY, HISTORY_SPACING_S, SIZE_MEMORY_S, Objects
from countline_counting.reasons import Reason
from countline_counting.tracking.motion import centred, cut_edges, with_feet


@dataclass(frozen=True, slots=True)
class _Batch:
    """Observations of one moment whose objects are known."""

    picture_wh: tuple[int, int]
    rows: NDArray[np.intp]
    """As in `Sights`."""
    t: Floats
    running_s: Floats
    frame: NDArray[np.int64]
    xyxy_px: Floats
    scores: Floats
    classes: NDArray[np.int64]


class Sightings:
    """The objects of one camera, and which raw id stands for which object.

    Args:
        anchor: the point of a box that is counted, as fractions of its width and height.
        trusted: whether a raw id that was seen only once is an object. If not, it may be a false detection and is
            dropped.
        listener: receives new objects, and the boxes and fragments that are left out.
    """

    def __init__(self, anchor: tuple[float, float], *, trusted: bool, listener: ObjectListener | None = None) -> None:
        self.objects = Objects()
        self.anchor = anchor
        self._listener = listener
        self._trusted = trusted
        self._row_of: dict[int, int] = {}
        self._raw_of: dict[int, int] = {}
        self._fragments = Fragments(self.objects, trusted=trusted)
        self._doubles = Doubles(self.objects)

    def take(self, frame: TrackedFrame, running_s: float) -> list[Sights]:
        """Take the tracks of a frame; return the sights to count, in the order of time for each object."""
        boxes_used = self._single(frame)
        raw_ids = frame.ids[boxes_used].tolist()
        rows = np.array([self._row_of.get(raw_id, -1) for raw_id in raw_ids], dtype=np.intp)
        known = rows >= 0
        sights = []
        if known.any():
            chosen = boxes_used[known]
            moment = np.full(len(chosen), frame.t)
            running = np.full(len(chosen), running_s)
            index = np.full(len(chosen), frame.index)
            boxes, scores, classes = frame.xyxy_px[chosen], frame.scores[chosen], frame.classes[chosen]
            self._doubles.take(rows[known], frame.t, boxes)
            sights.append(
                self._observe(_Batch(frame.size_wh, rows[known], moment, running, index, boxes, scores, classes))
            )
        for i in np.nonzero(~known)[0].tolist():
            self._fragments.add(raw_ids[i], frame, int(boxes_used[i]), running_s)
        if self._fragments:
            sights += self._settle(frame.t)
        return sights

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
        """Settle every fragment now, because no more frames come."""
        return self._settle(float("inf"))

    def forget(self, row: int) -> None:
        """Free everything that is held for an object."""
        self._row_of.pop(self._raw_of.pop(row), None)
        self.objects.death(row)
        self._doubles.forget(row)

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
            at = anchors(boxes[doubled], self.anchor)
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
        return [self._observe(batch) for batch in _by_moment(settled, rows)]

    def _path_of(self, fragment: Fragment) -> tuple[tuple[float, tuple[float, float]], ...]:
        at = anchors(np.array([seen.xyxy_px for seen in fragment.observed]), self.anchor)
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

    def _observe(self, batch: _Batch) -> Sights:
        """Enter observations into the table of objects; return them as sights."""
        table, rows = self.objects, batch.rows
        first = table["sights"][rows] == 0
        known_wh = table["size_wh_px"][rows]
        low, high = cut_edges(batch.xyxy_px, batch.picture_wh)
        short = high.copy()
        if self._trusted:  # else the tracker has completed them
            short[:, 1] |= self._feet_hidden(batch, known_wh)
        whole = ~(low | short).any(axis=1, keepdims=True)
        boxes = batch.xyxy_px if whole.all() else completed(batch.xyxy_px, known_wh, low, short)
        size_wh = boxes[:, 2:] - boxes[:, :2]
        elapsed_s = batch.t - table["last_t"][rows]
        weight = np.where(first, 1.0, 1.0 - np.exp(-elapsed_s / SIZE_MEMORY_S))[:, None]
        # If the border cuts an object off, its visible size counts only where it is larger than the known size.
        measured_wh = np.where(whole, size_wh, np.maximum(known_wh, size_wh))
        known_wh = known_wh + (measured_wh - known_wh) * weight
        share = np.array(self.anchor)
        sights = Sights(
            rows=rows,
            t=batch.t,
            frame=batch.frame,
            xy_px=boxes[:, :2] + size_wh * share,
            hidden=(high & ~low) * share - (low & ~high) * (1 - share),
            height_px=known_wh[:, 1],
            before_t=table["last_t"][rows],
            before_xy_px=table["anchor_px"][rows],
            width_px=known_wh[:, 0],
        )
        self._remember(batch, boxes)
        table["size_wh_px"][rows] = known_wh
        table["anchor_px"][rows] = sights.xy_px
        return sights

    def _feet_hidden(self, batch: _Batch, known_wh: Floats) -> NDArray[np.bool_]:
        """Return (N,) which boxes something in the picture cuts off from below."""
        boxes = centred(batch.xyxy_px)
        hidden = boxes[:, 2] * known_wh[:, 1] >= rules.PART_SHAPE * known_wh[:, 0] * boxes[:, 3]
        hidden &= known_wh[:, 1] > 0
        for i in np.nonzero(hidden)[0].tolist():
            place = self.objects.motion(int(batch.rows[i])).at(float(batch.t[i]))
            hidden[i] = with_feet(boxes[i : i + 1], np.array([[*place, *known_wh[i]]]))[1][0]
        return hidden

    def _remember(self, batch: _Batch, boxes: Floats) -> None:
        table, rows = self.objects, batch.rows
        table["last_t"][rows] = batch.t
        table["last_running_s"][rows] = batch.running_s
        table["sights"][rows] += 1
        table["score_sum"][rows] += batch.scores
        columns = table.columns(batch.classes)  # first: a class seen for the first time makes the table wider
        table.votes[rows, columns] += batch.scores
        head = table["history_head"][rows]
        newest_t = table["history"][rows, head, 0]
        keep = ~(batch.t - newest_t < HISTORY_SPACING_S)
        kept, heads = rows[keep], (head[keep] + 1) % HISTORY
        centre = (boxes[keep, :2] + boxes[keep, 2:]) / 2
        newest = np.column_stack([batch.t[keep], centre, boxes[keep, 2:] - boxes[keep, :2]])
        table["history"][kept, heads] = newest
        table["history_head"][kept] = heads


def _by_moment(due: Sequence[Fragment], rows: Sequence[int]) -> list[_Batch]:
    """Return the observations of fragments in batches: no object twice in a batch, each object's in order."""
    batches = []
    for column in zip_longest(*(fragment.observed for fragment in due)):
        seen = [(row, o) for row, o in zip(rows, column, strict=True) if o is not None]
        batches.append(
            _Batch(
                due[0].picture_wh,
                np.array([row for row, _ in seen], dtype=np.intp),
                np.array([o.t for _, o in seen]),
                np.array([o.running_s for _, o in seen]),
                np.array([o.frame for _, o in seen]),
                np.array([o.xyxy_px for _, o in seen], dtype=np.float64),
                np.array([o.score for _, o in seen]),
                np.array([o.class_id for _, o in seen], dtype=np.int64),
            )
        )
    return batches
