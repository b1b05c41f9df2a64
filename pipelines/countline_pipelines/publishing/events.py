"""Gathers counted events into records, which are then spooled and published; pure.

Events and capture time alone close a record, never a clock: a crossing or visit closes it at once, coverage after
`COVERAGE_S` (live) or `FINITE_COVERAGE_S` (files played once). So a file gives the same records, byte for byte, however
often and however fast it is counted. Trajectories go with the next record. Only many of them close a record, because
the size of a message is limited.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from countline.v1 import events_pb2
from countline_common.times import to_timestamp
from countline_counting.coverage import CoverageSpan, CoverageTracker
from countline_counting.events import Crossing, Direction, Event, OccupancySample, Visit
from countline_counting.identity import COUNTING_RULE_VERSION
from countline_counting.paths import Trajectory
from countline_pipelines.messages import class_name, to_message

COVERAGE_S: Final = 1.0
FINITE_COVERAGE_S: Final = 10.0
OCCUPANCY_EVERY_S: Final = 0.5
"""A zone's occupancy is sampled at most this often; the last value always arrives."""
MOST_CORNERS: Final = 50_000
"""Corners of trajectories in one record, about 400 kB; NATS takes messages of 1 MB."""
CORNERS_OF_A_HEAD: Final = 20
"""The other fields of a trajectory take as much room as this number of corners."""

_DIRECTIONS: Final = {Direction.IN: events_pb2.DIRECTION_IN, Direction.OUT: events_pb2.DIRECTION_OUT}


@dataclass(frozen=True, slots=True)
class RecordIdentity:
    """Fields that every record of a run repeats."""

    site_id: str
    camera_id: str
    worker_id: str
    epoch: int
    run: str
    time_zone: str
    labels: tuple[str, ...]
    """Class names by index."""
    assigned_at: float | None = None
    """When the control-plane gave the epoch out; goes with the hand-over."""
    recording: str = ""
    """Key of the file that is played once; empty for a live camera."""


class RecordBuilder:
    """Gathers one run's events and frames into records.

    Args:
        identity: of the run.
        period_s: expected time between processed frames.
        finite: a file that is played once.
        hand_over: whether this run is the first of its epoch, so that its first frame is the hand-over.
        since: capture time of the last frame of the run that this run continues.
    """

    def __init__(
        self,
        identity: RecordIdentity,
        period_s: float,
        *,
        finite: bool,
        hand_over: bool,
        since: float | None = None,
    ) -> None:
        self._identity = identity
        self._coverage = CoverageTracker(period_s, since)
        self._coverage_s = FINITE_COVERAGE_S if finite else COVERAGE_S
        self._hand_over = hand_over
        self._sequence = 0
        self._events: list[Crossing | Visit] = []
        self._trajectories: deque[Trajectory] = deque()
        self._occupancy = _OccupancySampler()
        self._cut_at: float | None = None
        self._hand_over_at: float | None = None

    def add_frame(self, t: float, events: Sequence[Event], dropped: int = 0) -> events_pb2.CountRecord | None:
        """Add a processed frame.

        Args:
            t: its capture time.
            events: that were decided at this frame.
            dropped: number of frames dropped just before it.

        Returns:
            A record, if one is complete.
        """
        self._coverage.add(t, dropped)
        first = self._cut_at is None
        if first:
            self._cut_at = t
            self._hand_over_at = t if self._hand_over else None
        self._take(events)
        assert self._cut_at is not None
        due = t - self._cut_at >= self._coverage_s or sum(map(_room, self._trajectories)) >= MOST_CORNERS
        return self._close(t) if self._events or due or self._hand_over_at is not None else None

    def add_late(self, t: float, events: Sequence[Event]) -> events_pb2.CountRecord | None:
        """Add events of earlier frames that were decided at `t`, after another run has taken over the frames.

        Returns:
            A record, if it contains events.
        """
        self._take([event for event in events if not isinstance(event, OccupancySample)])
        return self._close(t) if self._events else None

    def finish(self, events: Sequence[Event]) -> events_pb2.CountRecord | None:
        """Return the next of the run's last records, with the events decided at its end; None if nothing is left."""
        # The end of counting empties no zone: the number inside is unknown from then on.
        self._take([event for event in events if not isinstance(event, OccupancySample)])
        record = self._close(None)
        content = (record.crossings, record.visits, record.occupancy, record.coverage, record.trajectories)
        return record if any(content) else None

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, OccupancySample):
                self._occupancy.add(event)
            elif isinstance(event, Trajectory):
                self._trajectories.append(event)
            else:
                self._events.append(event)

    def _close(self, t: float | None) -> events_pb2.CountRecord:
        identity = self._identity
        assigned_at = None if self._hand_over_at is None else identity.assigned_at
        record = events_pb2.CountRecord(
            site_id=identity.site_id,
            camera_id=identity.camera_id,
            worker_id=identity.worker_id,
            epoch=identity.epoch,
            run=identity.run,
            sequence=self._sequence,
            hand_over_at=None if self._hand_over_at is None else to_timestamp(self._hand_over_at),
            crossings=[_crossing(e, identity.labels) for e in self._events if isinstance(e, Crossing)],
            visits=[_visit(e, identity.labels) for e in self._events if isinstance(e, Visit)],
            occupancy=[_sample(sample) for sample in self._occupancy.release(t)],
            coverage=[_span(span) for span in self._coverage.cut()],
            time_zone=identity.time_zone,
            assigned_at=None if assigned_at is None else to_timestamp(assigned_at),
            trajectories=[to_message(trajectory, identity.labels) for trajectory in self._next_trajectories()],
            recording=identity.recording,
            rule_version=COUNTING_RULE_VERSION if identity.recording else 0,
        )
        self._events = []
        self._hand_over, self._hand_over_at = False, None
        self._sequence += 1
        self._cut_at = t if t is not None else self._cut_at
        return record

    def _next_trajectories(self) -> list[Trajectory]:
        """Take as many as fit into a record; the others go with the next record."""
        taken, room = list[Trajectory](), MOST_CORNERS
        while self._trajectories and (room >= _room(self._trajectories[0]) or not taken):
            room -= _room(self._trajectories[0])
            taken.append(self._trajectories.popleft())
        return taken


def _room(trajectory: Trajectory) -> int:
    return CORNERS_OF_A_HEAD + len(trajectory.path.t_ms)


class _OccupancySampler:
    """Bounds the rate of samples of each zone; keeps the newest sample until it may be sent."""

    def __init__(self) -> None:
        self._newest: dict[str, OccupancySample] = {}
        self._sent_at: dict[str, float] = {}
        self._ready: list[OccupancySample] = []

    def add(self, sample: OccupancySample) -> None:
        held = self._newest.get(sample.zone_id)
        if held is not None and sample.t - self._sent_at.get(sample.zone_id, -OCCUPANCY_EVERY_S) >= OCCUPANCY_EVERY_S:
            self._send(held)
        self._newest[sample.zone_id] = sample

    def _send(self, sample: OccupancySample) -> None:
        self._ready.append(sample)
        self._sent_at[sample.zone_id] = sample.t

    def release(self, t: float | None) -> list[OccupancySample]:
        """Return the samples that may be sent at `t`; all of them at the end (None)."""
        for zone_id, sample in list(self._newest.items()):
            if t is None or t - self._sent_at.get(zone_id, -OCCUPANCY_EVERY_S) >= OCCUPANCY_EVERY_S:
                self._send(sample)
                del self._newest[zone_id]
        ready, self._ready = self._ready, []
        return ready


def _crossing(event: Crossing, labels: Sequence[str]) -> events_pb2.Crossing:
    return events_pb2.Crossing(
        crossing_id=event.id,
        line_id=event.line_id,
        line_version=event.line_version,
        track=event.track,
        sequence=event.sequence,
        direction=_DIRECTIONS[event.direction],
        class_name=class_name(labels, event.class_id),
        score=event.score,
        t=to_timestamp(event.t),
        decided_at=to_timestamp(event.decided_at),
        stitched=event.stitched,
        frame=event.frame,
        speed_m_per_s=event.speed_m_per_s,
        heading_deg=event.heading_deg,
    )


def _visit(event: Visit, labels: Sequence[str]) -> events_pb2.Visit:
    return events_pb2.Visit(
        visit_id=event.id,
        zone_id=event.zone_id,
        zone_version=event.zone_version,
        track=event.track,
        sequence=event.sequence,
        class_name=class_name(labels, event.class_id),
        entered_at=to_timestamp(event.entered_at),
        left_at=None if event.left_at is None else to_timestamp(event.left_at),
        dwell_s=event.dwell_s,
        decided_at=to_timestamp(event.decided_at),
        born_inside=event.born_inside,
        lost_inside=event.lost_inside,
        stitched=event.stitched,
        queue=event.queue,
    )


def _sample(sample: OccupancySample) -> events_pb2.OccupancySample:
    return events_pb2.OccupancySample(
        zone_id=sample.zone_id, zone_version=sample.zone_version, t=to_timestamp(sample.t), count=sample.count
    )


def _span(span: CoverageSpan) -> events_pb2.CoverageSpan:
    return events_pb2.CoverageSpan(
        start=to_timestamp(span.start),
        end=to_timestamp(span.end),
        frames=span.frames,
        frames_dropped=span.frames_dropped,
        period_s=span.period_s,
    )
