"""Converts a trajectory message to its row. Pure; times are whole microseconds since the Unix epoch."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

from countline.v1 import events_pb2
from countline_analytics.instants import to_datetime

UNITS_PER_PX: Final = 10
MOST_CORNERS: Final = 10_000
MOST_US: Final = 31 * 86_400_000_000


class TrajectoryRow(NamedTuple):
    """A stored path of an object, with columns to find it without decoding the payload."""

    event_id: bytes
    """16 bytes."""
    start_us: int
    end_us: int
    track: int
    part: int
    class_name: str
    bounds: tuple[float, float, float, float]
    """Smallest x and y, then largest x and y of the anchor, as shares of the picture."""
    payload: bytes


def trajectory_row(message: events_pb2.Trajectory, event_id: bytes, start_us: int, class_name: str) -> TrajectoryRow:
    """Return the row of a message whose id, start and class are checked.

    Raises:
        ValueError: the message is not a valid trajectory.
    """
    lists = (message.steps_ms, message.x, message.y, message.box_width, message.box_height)
    corners = len(message.steps_ms)
    if not 0 < corners <= MOST_CORNERS or any(len(each) != corners for each in lists):
        raise ValueError("its lists of corners differ in length")
    if max([*message.unseen, *message.joined], default=0) >= corners or len(message.unseen) % 2:
        raise ValueError("it refers to corners that it does not have")
    if message.picture_width <= 0 or message.picture_height <= 0:
        raise ValueError("it has no picture size")
    lasts_us = 1000 * sum(message.steps_ms)
    if lasts_us > MOST_US:
        raise ValueError("it lasts longer than 31 days")
    xs = [value / UNITS_PER_PX / message.picture_width for value in accumulate(message.x)]
    ys = [value / UNITS_PER_PX / message.picture_height for value in accumulate(message.y)]
    return TrajectoryRow(
        event_id=event_id,
        start_us=start_us,
        end_us=start_us + lasts_us,
        track=message.track,
        part=message.part,
        class_name=class_name,
        bounds=(min(xs), min(ys), max(xs), max(ys)),
        payload=message.SerializeToString(deterministic=True),
    )


def trajectory_arrays(rows: Sequence[tuple[Any, TrajectoryRow]]) -> dict[str, list[Any]]:
    """Return the parameters of `add_trajectories` for rows, each with its record."""

    def bound(index: int) -> list[float]:
        return [row.bounds[index] for _, row in rows]

    return {
        "trajectory_ids": [row.event_id.hex() for _, row in rows],
        "starts": _times(row.start_us for _, row in rows),
        "ends": _times(row.end_us for _, row in rows),
        "camera_ids": [record.camera_id for record, _ in rows],
        "epochs": [record.epoch for record, _ in rows],
        "runs": [record.run for record, _ in rows],
        "tracks": [row.track for _, row in rows],
        "parts": [row.part for _, row in rows],
        "class_names": [row.class_name for _, row in rows],
        "min_x": bound(0),
        "min_y": bound(1),
        "max_x": bound(2),
        "max_y": bound(3),
        "payloads": [row.payload for _, row in rows],
    }


def _times(values_us: Iterable[int]) -> list[Any]:
    return [to_datetime(value) for value in values_us]
