"""Decides which hand-overs of a camera are plausible, and from when each epoch is fenced.

Pure. Times are microseconds since the Unix epoch. A worker dates its hand-over, so a worker with a wrong clock could
fence the whole history of a camera. A hand-over is therefore compared with what other clocks say: the control-plane's
clock at the assignment, JetStream's clock at the receipt of the record, and the counts of the epochs before it. An
implausible hand-over is replaced by the best known time. What the worker reported is kept, so that the decision can be
made again when more is known.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

TOLERANCE_US: Final = 5_000_000
"""Largest difference between clocks that are right. A worker whose clock is off by more than 2 s uses that of NATS."""
DELAY_US: Final = 60_000_000
"""Largest difference between the delays of records that take the same way."""
LIVE_US: Final = 600_000_000
"""Events that are written within this time are live; later ones were spooled or sent again."""
NEVER_US: Final = 253_370_764_800_000_000
"""9999-01-01: the fence of an epoch that no later one has taken over."""


class Sighting(NamedTuple):
    """A crossing of an earlier epoch, and when ingest wrote it."""

    t_us: int
    written_us: int

    @property
    def delay_us(self) -> int:
        """Time from the event until it was written."""
        return self.written_us - self.t_us


class ReportedHandOver(NamedTuple):
    """The hand-over of an epoch as it was reported, and what was known when it arrived."""

    epoch: int
    reported_us: int
    received_us: int
    """When JetStream received the record."""
    written_us: int
    """When ingest wrote it, later than `received_us` if ingest was away."""
    assigned_us: int | None = None
    """When the control-plane gave the epoch out; None if the record does not say."""
    before: Sighting | None = None
    """The newest counted crossing of earlier epochs when it was written; None if there was none."""
    first_us: int | None = None
    """The time of the oldest crossing of earlier epochs; None if there was none."""


class Judged(NamedTuple):
    """The time from which an epoch fences earlier ones."""

    epoch: int
    t_us: int
    reason: str
    """Why `t_us` is not the reported time; empty if it is."""


def judge(hand_overs: Iterable[ReportedHandOver]) -> list[Judged]:
    """Return the effective hand-overs of a camera, by epoch. Epoch 0 (files) takes no part."""
    judged: list[Judged] = []
    plausible: list[ReportedHandOver] = []
    for hand_over in sorted(hand_overs):
        if hand_over.epoch <= 0:
            continue
        reason = _fault(hand_over, plausible)
        if reason:
            judged.append(Judged(hand_over.epoch, _corrected_us(hand_over, plausible), reason))
        else:
            plausible.append(hand_over)
            judged.append(Judged(hand_over.epoch, hand_over.reported_us, ""))
    return judged


def with_hand_over(known: Mapping[int, ReportedHandOver], new: ReportedHandOver) -> dict[int, ReportedHandOver]:
    """Return the hand-overs of a camera, by epoch, with a new one.

    Of two for one epoch the earlier plausible one stays, so that repeated and late records change nothing.
    """
    changed = {**known, new.epoch: new}
    old = known.get(new.epoch)
    if old is None:
        return changed
    is_plausible = {each.epoch: not each.reason for each in judge(changed.values())}[new.epoch]
    was_plausible = {each.epoch: not each.reason for each in judge(known.values())}[new.epoch]
    is_better = is_plausible and (not was_plausible or new.reported_us < old.reported_us)
    return changed if is_better else dict(known)


def _fault(hand_over: ReportedHandOver, earlier: Sequence[ReportedHandOver]) -> str:
    """Return why a hand-over cannot be right; empty if it can.

    Args:
        hand_over: of one epoch.
        earlier: the plausible hand-overs of earlier epochs.
    """
    reported_us = hand_over.reported_us
    if reported_us > hand_over.received_us + TOLERANCE_US:
        return "it lies after the time at which the server received it"
    if any(reported_us < other.reported_us - TOLERANCE_US for other in earlier):
        return "it lies before the hand-over of an earlier epoch"
    before = _before(hand_over, earlier)
    if before is not None and _was_set_back(hand_over, before):
        return "the clock of the server was set back"
    if hand_over.assigned_us is not None:
        early = reported_us < hand_over.assigned_us - TOLERANCE_US
        return "it lies before the assignment of the epoch" if early else ""
    return _fault_by_counts(hand_over, before)


def _fault_by_counts(hand_over: ReportedHandOver, before: Sighting | None) -> str:
    """Return why a hand-over without a time of assignment contradicts earlier counts; empty if it does not."""
    if hand_over.first_us is not None and hand_over.reported_us < hand_over.first_us - DELAY_US:
        return "it lies before everything that earlier epochs counted"
    delay_us = hand_over.received_us - hand_over.reported_us
    if before is not None and before.delay_us <= LIVE_US and delay_us > max(0, before.delay_us) + DELAY_US:
        return "it is far from the clock of the server"
    return ""


def _before(hand_over: ReportedHandOver, earlier: Sequence[ReportedHandOver]) -> Sighting | None:
    if hand_over.before is not None or not earlier:
        return hand_over.before
    return Sighting(earlier[-1].reported_us, earlier[-1].written_us)


def _was_set_back(hand_over: ReportedHandOver, before: Sighting) -> bool:
    """Whether the clock of the server was set back between an earlier event and a hand-over."""
    return hand_over.written_us < before.written_us - TOLERANCE_US


def _corrected_us(hand_over: ReportedHandOver, earlier: Sequence[ReportedHandOver]) -> int:
    """Return the best known time of an implausible hand-over: the assignment, or else the receipt.

    It is never before the earlier epochs' newest event if the clock of the server itself was set back.
    """
    known_us = hand_over.received_us
    if hand_over.assigned_us is not None:
        known_us = min(known_us, hand_over.assigned_us)
    before = _before(hand_over, earlier)
    if before is not None and _was_set_back(hand_over, before):
        known_us = max(known_us, before.t_us)
    return max([known_us, *(other.reported_us for other in earlier)])


class Fences:
    """The time from which events of each epoch are fenced. Files (epoch 0) neither fence nor are fenced."""

    def __init__(self, hand_overs: Iterable[tuple[str, int, int]]) -> None:
        """Take (camera, epoch, time in microseconds) of each effective hand-over."""
        self._by_camera: dict[str, list[tuple[int, int]]] = {}
        for camera_id, epoch, t_us in hand_overs:
            self._by_camera.setdefault(camera_id, []).append((epoch, t_us))

    def limit_us(self, camera_id: str, epoch: int) -> int:
        """Return the time after which events of this epoch are fenced."""
        return min((t_us for other, t_us in self._by_camera.get(camera_id, ()) if other > epoch > 0), default=NEVER_US)

    def epochs(self, camera_id: str) -> set[int]:
        """Return the epochs of a camera that have a hand-over."""
        return {epoch for epoch, _ in self._by_camera.get(camera_id, ())}


class MovedFence(NamedTuple):
    """The events whose fence moved."""

    camera_id: str
    first_epoch: int
    last_epoch: int
    limit_us: int
    """The new fence."""
    since_us: int
    """Events before this time keep their state."""


LAST_EPOCH: Final = 2**31 - 1
FIRST_US: Final = -62_135_510_400_000_000
"""0001-01-02, before any event."""


def moved(camera_id: str, old: Fences, new: Fences) -> Iterator[MovedFence]:
    """Yield the ranges of epochs of a camera whose fences differ."""
    for fence in all_fences(camera_id, new, old.epochs(camera_id)):
        was_us = old.limit_us(camera_id, fence.first_epoch)
        if was_us != fence.limit_us:
            yield fence._replace(since_us=min(was_us, fence.limit_us))


def all_fences(camera_id: str, fences: Fences, also: Iterable[int] = ()) -> Iterator[MovedFence]:
    """Yield the fence of every epoch of a camera, in ranges that begin at each epoch of `fences` and of `also`."""
    for first, following in pairwise(sorted({1, *fences.epochs(camera_id), *also, LAST_EPOCH + 1})):
        yield MovedFence(camera_id, first, following - 1, fences.limit_us(camera_id, first), FIRST_US)
