"""From tracked boxes to sights of objects: ids healed, duplicates gone, cut boxes completed.

This is the only place that knows both the ids of the tracker (*raw* ids) and the objects behind them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from countline_counting import rules
from countline_counting.explain.explainer import Explainer
from countline_counting.frames import TrackedFrame
from countline_counting.geometry.segments import Floats
from countline_counting.objects.boxes import completed, cut_edges, without_duplicates
from countline_counting.objects.healing import SETTLE_S, Fragment, Lost, Observed, best_joins, join_cost, walks_out
from countline_counting.objects.masks import anchors
from countline_counting.objects.table import HISTORY, HISTORY_SPACING_S, SIZE_MEMORY_S, Objects
from countline_counting.rule.lines import TIME_SLACK_S, Sights
from countline_counting.rule.reasons import Reason

RUNNING_SLACK_S = 1e-3
"""Running time is a sum of many differences of Unix times; limits on it allow for that."""

CONFIRM_S = 1.0
"""A new track of one detection is forgotten after this time."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Observations of one moment whose objects are settled; rows as in `Sights`."""

    picture_wh: tuple[int, int]
    slots: NDArray[np.intp]
    t: Floats
    running_s: Floats
    frame: NDArray[np.int64]
    xyxy_px: Floats
    scores: Floats
    classes: NDArray[np.int64]


class Sightings:
    """The objects of one camera: which raw id stands for which, and what is known of each.

    Args:
        anchor: the point of a box that is counted, as fractions of its width and height.
        trusted: whether a raw id that was seen only once is an object; else it may be a false detection, and is
        dropped.
    """

    def __init__(self, anchor: tuple[float, float], *, trusted: bool) -> None:
        self.objects = Objects()
        self.anchor = anchor
        self.explainer: Explainer | None = None
        """Hears of boxes and fragments that are left out, where somebody wants to know."""
        self._trusted = trusted
        self._slot_of: dict[int, int] = {}
        self._raw_of: dict[int, int] = {}
        self._fragments: dict[int, Fragment] = {}

    def take(self, frame: TrackedFrame, running_s: float) -> list[Sights]:
        """Take the tracks of a frame; return the sights to be counted, for each object in the order of time."""
        rows = self._single(frame)
        raw_ids = frame.ids[rows].tolist()
        slots = np.array([self._slot_of.get(raw_id, -1) for raw_id in raw_ids], dtype=np.intp)
        known = slots >= 0
        sights = []
        if known.any():
            chosen = rows[known]
            moment = np.full(len(chosen), frame.t)
            running = np.full(len(chosen), running_s)
            index = np.full(len(chosen), frame.index)
            boxes, scores, classes = frame.xyxy_px[chosen], frame.scores[chosen], frame.classes[chosen]
            sights.append(
                self._observe(_Batch(frame.size_wh, slots[known], moment, running, index, boxes, scores, classes))
            )
        for i in np.nonzero(~known)[0].tolist():
            self._add_to_fragment(raw_ids[i], frame, int(rows[i]), running_s)
        if self._fragments:
            sights += self._settle(frame.t)
        return sights

    def named(self, frame: TrackedFrame) -> TrackedFrame:
        """Return the frame with the numbers of objects as ids, without the boxes that were taken for duplicates."""
        raw_ids = frame.ids.tolist()
        slots = [self._slot_of.get(raw_id, -1) for raw_id in raw_ids]
        numbers = self.objects["number"][slots]
        for i, slot in enumerate(slots):
            if slot < 0:
                numbers[i] = self._number(raw_ids[i])
        keep = numbers > 0
        return replace(
            frame,
            ids=numbers[keep],
            xyxy_px=frame.xyxy_px[keep],
            scores=frame.scores[keep],
            classes=frame.classes[keep],
        )

    def expired(self, running_s: float) -> list[int]:
        """Return the slots of objects that were unseen for too long; the caller ends them with `forget`."""
        unseen_s = running_s - self.objects["last_running_s"]
        too_long = unseen_s > rules.OBJECT_UNSEEN_S + RUNNING_SLACK_S
        slots: list[int] = np.nonzero(self.objects["alive"] & too_long)[0].tolist()
        return slots

    def settle_all(self) -> list[Sights]:
        """Settle every fragment now, for there is nothing more to wait for."""
        return self._settle(float("inf"))

    def living(self) -> list[int]:
        """Return the slots of all objects."""
        slots: list[int] = np.nonzero(self.objects["alive"])[0].tolist()
        return slots

    def held(self) -> int:
        """Return how many objects and fragments are known now."""
        return len(self._slot_of) + len(self._fragments)

    def forget(self, slot: int) -> None:
        """Free everything that is held for an object."""
        self._slot_of.pop(self._raw_of.pop(slot), None)
        self.objects.death(slot)

    def _number(self, raw_id: int) -> int:
        slot = self._slot_of.get(raw_id)
        if slot is not None:
            return int(self.objects["number"][slot])
        fragment = self._fragments.get(raw_id)
        return fragment.number if fragment is not None else 0

    def _single(self, frame: TrackedFrame) -> NDArray[np.intp]:
        """Return the rows that are objects of their own: of two boxes on one object the older is kept."""
        if not self._trusted:
            return np.arange(len(frame.ids))  # detections were freed of duplicates before they were tracked
        boxes = frame.xyxy_px
        sound = np.nonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))[0]  # refuses NaN too

        def rank() -> list[float]:
            return [self._number(raw_id) or self.objects.next_number for raw_id in frame.ids[sound].tolist()]

        keep = without_duplicates(boxes[sound], frame.classes[sound], rank)
        if self.explainer is not None and not keep.all():
            doubled = sound[~keep]
            at = anchors(boxes[doubled], self.anchor)
            self.explainer.left_out(frame.t, boxes[doubled], at, frame.ids[doubled], Reason.DUPLICATE_BOX)
        return sound[keep]

    def _add_to_fragment(self, raw_id: int, frame: TrackedFrame, row: int, running_s: float) -> None:
        fragment = self._fragments.get(raw_id)
        x1, y1, x2, y2 = frame.xyxy_px[row].tolist()
        score, class_id = float(frame.scores[row]), int(frame.classes[row])
        seen = Observed(frame.t, running_s, frame.index, (x1, y1, x2, y2), score, class_id)
        if fragment is None:
            fragment = self._fragments[raw_id] = Fragment(raw_id, self.objects.take_number(), frame.size_wh)
            fragment.observed.append(seen)
            costs = [join_cost(lost, fragment.start(), class_id) for lost in self._lost(fragment)]
            fragment.waits = min(costs, default=np.inf) <= 2
        else:
            fragment.observed.append(seen)

    def _lost(self, fragment: Fragment) -> list[Lost]:
        """Return the objects that were out of sight when the fragment began and have been since."""
        table = self.objects
        born = fragment.observed[0]
        out_of_sight = table["alive"] & (table["last_t"] < born.t)
        found = []
        for slot in np.nonzero(out_of_sight)[0].tolist():
            unseen_s = born.running_s - float(table["last_running_s"][slot])
            if unseen_s <= rules.OBJECT_UNSEEN_S + RUNNING_SLACK_S:
                motion = table.motion(slot)
                left = walks_out(motion, fragment.picture_wh)
                found.append(Lost(slot, motion, table.class_of(slot), unseen_s, left))
        return found

    def _settle(self, now: float) -> list[Sights]:
        """Decide whose the fragments are that have waited long enough, and return what they saw meanwhile."""
        due = [f for f in self._fragments.values() if not f.waits or now - f.born_t >= SETTLE_S - TIME_SLACK_S]
        if not self._trusted:
            due = self._confirmed(due, now)
        if not due:
            return []
        slots = self._join(due)
        for fragment, slot in zip(due, slots, strict=True):
            del self._fragments[fragment.raw_id]
            self._slot_of[fragment.raw_id] = slot
            self._raw_of[slot] = fragment.raw_id
        return [self._observe(batch) for batch in _by_moment(due, slots)]

    def _confirmed(self, due: Sequence[Fragment], now: float) -> list[Fragment]:
        """Return the fragments that were seen twice; drop those that were not seen again."""
        for fragment in due:
            if not fragment.confirmed and now - fragment.born_t > CONFIRM_S:
                del self._fragments[fragment.raw_id]
                if self.explainer is not None:
                    self.explainer.unconfirmed(self._path_of(fragment))
        return [fragment for fragment in due if fragment.confirmed]

    def _path_of(self, fragment: Fragment) -> list[tuple[float, tuple[float, float]]]:
        at = anchors(np.array([seen.xyxy_px for seen in fragment.observed]), self.anchor)
        return [(seen.t, (x, y)) for seen, (x, y) in zip(fragment.observed, at.tolist(), strict=True)]

    def _join(self, due: Sequence[Fragment]) -> list[int]:
        """Return the slot of each fragment: that of the object which it continues, or a new one."""
        lost = {item.slot: item for fragment in due if fragment.waits for item in self._lost(fragment)}
        candidates = list(lost)
        costs = []
        for fragment in due:
            of_slot = {item.slot: item for item in self._lost(fragment)} if fragment.waits else {}
            start, class_id = fragment.start(), fragment.observed[0].class_id
            costs.append(
                [join_cost(of_slot[slot], start, class_id) if slot in of_slot else np.inf for slot in candidates]
            )
        joined = {row: candidates[column] for row, column in best_joins(costs)}
        return [self._continue(joined[i]) if i in joined else self._begin(f) for i, f in enumerate(due)]

    def _continue(self, slot: int) -> int:
        del self._slot_of[self._raw_of[slot]]
        self.objects["stitched"][slot] = True
        return slot

    def _begin(self, fragment: Fragment) -> int:
        born = fragment.observed[0]
        return self.objects.birth(fragment.number, born.t, born.running_s)

    def _observe(self, batch: _Batch) -> Sights:
        """Enter observations into the table of objects."""
        table, slots = self.objects, batch.slots
        first = table["sights"][slots] == 0
        known_wh = table["size_wh_px"][slots]
        low, high = cut_edges(batch.xyxy_px, batch.picture_wh)
        whole = ~(low | high).any(axis=1, keepdims=True)
        boxes = batch.xyxy_px if whole.all() else completed(batch.xyxy_px, known_wh, low, high)
        size_wh = boxes[:, 2:] - boxes[:, :2]
        elapsed_s = batch.t - table["last_t"][slots]
        weight = np.where(first, 1.0, 1.0 - np.exp(-elapsed_s / SIZE_MEMORY_S))[:, None]
        # Of an object that the border cuts off, only what it shows more than before is news.
        news = np.where(whole, size_wh, np.maximum(known_wh, size_wh))
        known_wh = known_wh + (news - known_wh) * weight
        share = np.array(self.anchor)
        sights = Sights(
            slots=slots,
            t=batch.t,
            frame=batch.frame,
            xy_px=boxes[:, :2] + size_wh * share,
            hidden=(high & ~low) * share - (low & ~high) * (1 - share),
            height_px=known_wh[:, 1],
            before_t=table["last_t"][slots],
            before_xy_px=table["anchor_px"][slots],
            width_px=known_wh[:, 0],
        )
        self._remember(batch, boxes)
        table["size_wh_px"][slots] = known_wh
        table["anchor_px"][slots] = sights.xy_px
        return sights

    def _remember(self, batch: _Batch, boxes: Floats) -> None:
        table, slots = self.objects, batch.slots
        table["last_t"][slots] = batch.t
        table["last_running_s"][slots] = batch.running_s
        table["sights"][slots] += 1
        table["score_sum"][slots] += batch.scores
        columns = table.columns(batch.classes)  # first: a class seen for the first time makes the table wider
        table.votes[slots, columns] += batch.scores
        head = table["history_head"][slots]
        newest_t = table["history"][slots, head, 0]
        keep = ~(batch.t - newest_t < HISTORY_SPACING_S)
        places, heads = slots[keep], (head[keep] + 1) % HISTORY
        centre = (boxes[keep, :2] + boxes[keep, 2:]) / 2
        rows = np.column_stack([batch.t[keep], centre, boxes[keep, 2:] - boxes[keep, :2]])
        table["history"][places, heads] = rows
        table["history_head"][places] = heads


def _by_moment(due: Sequence[Fragment], slots: Sequence[int]) -> list[_Batch]:
    """Return what fragments observed, no object twice in a batch, each object's observations in order."""
    batches = []
    for column in zip_longest(*(fragment.observed for fragment in due)):
        seen = [(slot, o) for slot, o in zip(slots, column, strict=True) if o is not None]
        batches.append(
            _Batch(
                due[0].picture_wh,
                np.array([slot for slot, _ in seen], dtype=np.intp),
                np.array([o.t for _, o in seen]),
                np.array([o.running_s for _, o in seen]),
                np.array([o.frame for _, o in seen]),
                np.array([o.xyxy_px for _, o in seen], dtype=np.float64),
                np.array([o.score for _, o in seen]),
                np.array([o.class_id for _, o in seen], dtype=np.int64),
            )
        )
    return batches
