"""Trajectories as protobuf messages and back; pure. The way there and back changes no bit.

Used by publishing (records), by offline (files of trajectories, recounts) and by the worker (class names).
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, pairwise
from typing import Final

from countline.v1 import events_pb2
from countline_common.errors import InvalidInputError
from countline_common.times import to_timestamp
from countline_counting.identity import Identity
from countline_counting.paths import ObjectPath, Trajectory

MOST_CORNERS: Final = 10_000
"""A message with more corners does not come from this product."""


def class_name(labels: Sequence[str], class_id: int) -> str:
    """Return the name of a class, or its number if the model has no name for it."""
    return labels[class_id] if 0 <= class_id < len(labels) else str(class_id)


def to_message(
    trajectory: Trajectory, labels: Sequence[str], identity: Identity | None = None
) -> events_pb2.Trajectory:
    """Return a trajectory as a message.

    Args:
        trajectory: to convert.
        labels: class names by index.
        identity: of the run, if the message stands alone; None within a record, which states the run itself.
    """
    path = trajectory.path
    message = events_pb2.Trajectory(
        trajectory_id=trajectory.id,
        track=trajectory.track,
        class_name=class_name(labels, trajectory.class_id),
        score=trajectory.score,
        stitched=trajectory.stitched,
        picture_width=trajectory.picture_wh[0],
        picture_height=trajectory.picture_wh[1],
        start=to_timestamp(path.start),
        steps_ms=_steps(path.t_ms),
        x=_steps(path.x),
        y=_steps(path.y),
        box_width=_steps(path.width),
        box_height=_steps(path.height),
        error_heights=path.error_heights,
        unseen=chain.from_iterable(path.unseen),
        joined=path.joined,
        sights=path.sights,
        part=path.part,
        continues=path.continues,
    )
    if identity is not None:
        message.camera_id, message.epoch, message.run = identity.camera_id, identity.epoch, identity.run
    return message


def path_of(message: events_pb2.Trajectory) -> ObjectPath:
    """Return the path in a message.

    Raises:
        InvalidInputError: its lists have different lengths, or it has no corner.
    """
    lists = (message.steps_ms, message.x, message.y, message.box_width, message.box_height)
    length, unseen = len(message.steps_ms), list(message.unseen)
    is_consistent = all(len(each) == length for each in lists) and len(unseen) % 2 == 0
    if not 0 < length <= MOST_CORNERS or not is_consistent or max([*unseen, *message.joined], default=0) >= length:
        raise InvalidInputError(f"trajectory {message.trajectory_id!r}: its lists of corners do not belong together")
    t_ms, x, y, width, height = (tuple(accumulate(each)) for each in lists)
    return ObjectPath(
        start=(message.start.seconds * 1_000_000 + message.start.nanos // 1000) / 1e6,
        t_ms=t_ms,
        x=x,
        y=y,
        width=width,
        height=height,
        unseen=tuple(zip(unseen[::2], unseen[1::2], strict=True)),
        joined=tuple(message.joined),
        sights=message.sights,
        error_heights=message.error_heights,
        part=message.part,
        continues=message.continues,
    )


def _steps(values: Iterable[int]) -> list[int]:
    return [after - before for before, after in pairwise((0, *values))]
