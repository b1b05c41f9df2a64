"""The comparison of two model versions over a span, as a message; pure."""

from typing import Final

from countline.v1 import events_pb2
from countline_common.times import to_timestamp
from countline_counting.events import Direction
from countline_counting.trials import TrialSpan, TrialTally

_DIRECTIONS: Final = {Direction.IN: events_pb2.DIRECTION_IN, Direction.OUT: events_pb2.DIRECTION_OUT}


def trial_record(camera_id: str, worker_id: str, span: TrialSpan) -> events_pb2.TrialRecord:
    """Return a span as a message."""
    return events_pb2.TrialRecord(
        trial_id=span.trial_id,
        camera_id=camera_id,
        worker_id=worker_id,
        start=to_timestamp(span.start),
        end=to_timestamp(span.end),
        incumbent=span.incumbent,
        challenger=span.challenger,
        tallies=[_tally(tally) for tally in span.tallies],
        frames=span.frames,
        frames_missed=span.frames_missed,
    )


def _tally(tally: TrialTally) -> events_pb2.TrialTally:
    return events_pb2.TrialTally(
        line_id=tally.line_id,
        direction=_DIRECTIONS[tally.direction],
        both=tally.both,
        only_incumbent=tally.only_incumbent,
        only_challenger=tally.only_challenger,
    )
