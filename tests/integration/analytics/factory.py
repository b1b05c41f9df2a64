"""Records as a worker would send them."""

import hashlib

from countline.v1 import events_pb2
from countline_common.times import to_timestamp

SITE = "demo"
NOON = 1_780_000_000.0
"""2026-05-28T20:26:40Z: far from any change of clocks."""


def crossing(number: int, t: float, *, line: str = "gate", direction: str = "in", kind: str = "person", salt: str = ""):
    """A crossing with an id of its own, the same for the same arguments."""
    return events_pb2.Crossing(
        crossing_id=hashlib.md5(f"{salt}/{number}/{line}".encode()).hexdigest(),
        line_id=line,
        line_version=1,
        track=number,
        direction=events_pb2.DIRECTION_IN if direction == "in" else events_pb2.DIRECTION_OUT,
        class_name=kind,
        score=0.9,
        t=to_timestamp(t),
        decided_at=to_timestamp(t + 0.4),
        frame=round(t * 25) % 1_000_000,
    )


def visit(number: int, entered_at: float, dwell_s: float, *, zone: str = "hall", kind: str = "person", **fields):
    """A visit with an id of its own, the same for the same arguments."""
    lost = fields.get("lost_inside", False)
    return events_pb2.Visit(
        visit_id=hashlib.md5(f"visit/{number}/{zone}".encode()).hexdigest(),
        zone_id=zone,
        zone_version=1,
        track=number,
        class_name=kind,
        entered_at=to_timestamp(entered_at),
        left_at=None if lost else to_timestamp(entered_at + dwell_s),
        dwell_s=dwell_s,
        decided_at=to_timestamp(entered_at + dwell_s + 0.5),
        **fields,
    )


def sample(t: float, count: int, *, zone: str = "hall"):
    """How many a zone held from a moment on."""
    return events_pb2.OccupancySample(zone_id=zone, zone_version=1, t=to_timestamp(t), count=count)


def record(*crossings, camera: str = "cam-1", epoch: int = 1, run: str = "run-1", sequence: int = 0, **fields):
    """A record of one camera."""
    message = events_pb2.CountRecord(
        site_id=SITE, camera_id=camera, worker_id="worker-1", epoch=epoch, run=run, sequence=sequence, **fields
    )
    message.crossings.extend(crossings)
    if not message.time_zone:
        message.time_zone = "Europe/Berlin"
    return message


def span(start: float, end: float, fps: float = 25.0):
    """A span of coverage."""
    return events_pb2.CoverageSpan(
        start=to_timestamp(start), end=to_timestamp(end), frames=round((end - start) * fps) + 1, period_s=1 / fps
    )


def subject(message) -> str:
    """Where a record is published."""
    return f"countline.counts.{message.site_id}.{message.camera_id}"


def trajectory(number: int, start: float, *, kind: str = "person"):
    """The path of an object that is seen for two seconds, with a gap after the first moment."""
    return events_pb2.Trajectory(
        trajectory_id=hashlib.md5(f"trajectory/{number}/{start}".encode()).hexdigest(),
        track=number,
        class_name=kind,
        score=0.8,
        picture_width=640,
        picture_height=480,
        start=to_timestamp(start),
        steps_ms=[0, 500, 500, 1000],
        x=[1000, 200, 300, -150],
        y=[2000, 100, 100, 1000],
        box_width=[400, 0, 3, -3],
        box_height=[900, 0, 5, -5],
        error_heights=0.002,
        unseen=[0, 1],
        sights=20,
    )
