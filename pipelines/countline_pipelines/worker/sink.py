"""Turns counted frames into records for the spool, boxes for live overlays and pictures for previews.

The plane's thread calls it; nothing here waits.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from countline.v1 import events_pb2
from countline_common.data.bus import counts_subject, trial_subject
from countline_common.times import to_timestamp
from countline_counting.events import Event
from countline_counting.frames import TrackedFrame
from countline_counting.identity import Identity
from countline_counting.trials import TrialSpan
from countline_pipelines.messages import class_name
from countline_pipelines.planes.interface import CountedFrame, RunStarted
from countline_pipelines.publishing.events import RecordBuilder, RecordIdentity
from countline_pipelines.publishing.trials import trial_record
from countline_pipelines.worker.assignments import Ownership
from countline_pipelines.worker.pictures import PictureEncoder

LIVE_EVERY_S: Final = 0.1
"""Boxes of one camera are sent at most this often; overlays show no more pictures than that."""


class RecordStore(Protocol):
    """Stores records."""

    def submit(self, subject: str, payload: bytes) -> None:
        """Queue a record; never blocks."""
        ...


@dataclass(slots=True)
class _OpenRun:
    subject: str
    builder: RecordBuilder
    labels: tuple[str, ...]
    live_at: float = 0.0


class WorkerSink:
    """The worker's `PlaneSink`.

    Args:
        worker_id: written into every record.
        store: the spool's writer.
        owners: site and time zone of each held camera.
        send_live: sends the boxes of a camera; lossy.
        pictures: encodes and sends previews.
    """

    def __init__(
        self,
        worker_id: str,
        store: RecordStore,
        owners: Mapping[str, Ownership],
        send_live: Callable[[str, bytes], None],
        pictures: PictureEncoder,
    ) -> None:
        self._worker_id = worker_id
        self._store = store
        self._owners = owners
        self._send_live = send_live
        self._pictures = pictures
        self._runs: dict[Identity, _OpenRun] = {}
        self._handed_over: dict[str, int] = {}
        self._guard = threading.Lock()

    def run_started(self, run: RunStarted) -> None:
        """Begin the run's records."""
        camera_id = run.identity.camera_id
        owner = self._owners[camera_id]
        identity = RecordIdentity(
            site_id=owner.site_id,
            camera_id=camera_id,
            worker_id=self._worker_id,
            epoch=run.identity.epoch,
            run=run.identity.run,
            time_zone=owner.time_zone,
            labels=run.labels,
            assigned_at=owner.assigned_at,
            recording=owner.recording if run.finite else "",
        )
        hand_over = self._is_first_of_epoch(run)
        builder = RecordBuilder(identity, run.period_s, finite=run.finite, hand_over=hand_over, since=run.since)
        self._runs[run.identity] = _OpenRun(counts_subject(owner.site_id, camera_id), builder, run.labels)

    def _is_first_of_epoch(self, run: RunStarted) -> bool:
        """Whether this run takes the camera over from other workers.

        A run of a finite file does so each time, so that its records are always the same. A run that continues after
        a model change does not.
        """
        camera_id, epoch = run.identity.camera_id, run.identity.epoch
        first = self._handed_over.get(camera_id) != epoch
        self._handed_over[camera_id] = epoch
        return first or (run.finite and run.since is None)

    def frame_counted(self, identity: Identity, counted: CountedFrame) -> None:
        """Add the frame to the run's records, and send its boxes and picture."""
        run = self._runs[identity]
        tracked = counted.result.tracked
        record = run.builder.add_frame(tracked.t, counted.result.events, counted.dropped)
        if record is not None:
            self._store_record(run, record)
        now = time.monotonic()
        if now - run.live_at >= LIVE_EVERY_S:
            run.live_at = now
            self._send_live(tracked.camera_id, live_frame(tracked, run.labels).SerializeToString())
        if counted.picture is not None:
            self._pictures.submit(tracked, boxes_of(tracked, run.labels), counted.picture)

    def events_decided(self, identity: Identity, t: float, events: Sequence[Event]) -> None:
        """Add events that were decided late to the run's records."""
        run = self._runs.get(identity)
        record = run.builder.add_late(t, events) if run is not None else None
        if run is not None and record is not None:
            self._store_record(run, record)

    def run_ended(self, identity: Identity, events: Sequence[Event] | None) -> None:
        """Close the run's records. An interrupted file (`events` is None) leaves them to the next attempt."""
        run = self._runs.pop(identity, None)
        if run is None or events is None:
            return
        while (record := run.builder.finish(events)) is not None:
            self._store_record(run, record)
            events = ()

    def span_compared(self, camera_id: str, span: TrialSpan) -> None:
        """Store the comparison of two model versions over a span."""
        record = trial_record(camera_id, self._worker_id, span)
        self._store.submit(trial_subject(span.trial_id, camera_id), record.SerializeToString(deterministic=True))

    def _store_record(self, run: _OpenRun, record: events_pb2.CountRecord) -> None:
        self._store.submit(run.subject, record.SerializeToString(deterministic=True))


def boxes_of(tracked: TrackedFrame, labels: Sequence[str]) -> list[events_pb2.LiveBox]:
    """Return the boxes of a frame, in source pixels."""
    rows = zip(tracked.ids, tracked.xyxy_px, tracked.scores, tracked.classes, strict=True)
    return [
        events_pb2.LiveBox(
            track=int(track), x1=x1, y1=y1, x2=x2, y2=y2, score=score, class_name=class_name(labels, int(class_id))
        )
        for track, (x1, y1, x2, y2), score, class_id in rows
    ]


def live_frame(tracked: TrackedFrame, labels: Sequence[str]) -> events_pb2.LiveFrame:
    """Return the boxes of a frame as a message."""
    width, height = tracked.size_wh
    return events_pb2.LiveFrame(
        camera_id=tracked.camera_id,
        t=to_timestamp(tracked.t),
        width=width,
        height=height,
        boxes=boxes_of(tracked, labels),
    )
