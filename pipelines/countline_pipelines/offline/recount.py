"""Counts lines over messages of stored trajectories (`countline_counting.trajectories.recount` does the counting)."""

from collections.abc import Iterable, Iterator

from countline.v1 import events_pb2
from countline_counting.identity import Identity
from countline_counting.trajectories.recount import PartJoiner
from countline_counting.trajectories.sampling import TrackedObject
from countline_pipelines.messages import path_of


def objects_of(messages: Iterable[events_pb2.Trajectory]) -> Iterator[TrackedObject]:
    """Yield the objects of some trajectories, parts of long tracks joined.

    Args:
        messages: trajectories, the parts of each track in their order.

    Raises:
        InvalidInputError: a message is not a trajectory that could have been stored.
    """
    joiner = PartJoiner()
    for message in messages:
        yield from joiner.add(_object_of(message))
    yield from joiner.rest()


def _object_of(message: events_pb2.Trajectory) -> TrackedObject:
    return TrackedObject(
        identity=Identity(message.camera_id, message.epoch, message.run),
        track=message.track,
        class_name=message.class_name,
        score=message.score,
        stitched=message.stitched,
        picture_wh=(message.picture_width, message.picture_height),
        parts=(path_of(message),),
    )
