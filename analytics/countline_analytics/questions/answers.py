"""Answers in buckets, for cameras that may lie in several time zones."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from countline_analytics.directory import CameraDirectory, KnownCamera
from countline_analytics.questions.buckets import check_length, edges
from countline_common.site_zones import SiteZones


class Questions:
    """What all classes that answer questions need.

    Args:
        engine: connects to the analytics database.
        directory: looks up cameras, lines and zones.
    """

    def __init__(self, engine: AsyncEngine, directory: CameraDirectory) -> None:
        self._engine = engine
        self._directory = directory


class BucketQuestion(Protocol):
    """A validated request for buckets."""

    @property
    def start(self) -> datetime: ...
    @property
    def end(self) -> datetime: ...
    @property
    def size(self) -> str: ...


_Question = TypeVar("_Question", bound=BucketQuestion)


class Answer(Generic[_Question]):
    """Builds the buckets of the cameras of one time zone."""

    def __init__(
        self, connection: AsyncConnection, question: _Question, zones: SiteZones, cameras: Sequence[KnownCamera]
    ) -> None:
        self._connection = connection
        self._question = question
        self._cameras = cameras
        self._camera_ids = [camera.camera_id for camera in cameras]
        self._edges = edges(question.size, question.start, question.end, zones)
        self._zone_names = [zones.at(edge).key for edge in self._edges]


class Zoned(Protocol):
    """A bucket that names its time zone."""

    time_zone: str


_Bucket = TypeVar("_Bucket", bound=Zoned)
AnswerOfZone = Callable[[AsyncConnection, SiteZones, Sequence[KnownCamera]], Awaitable[list[_Bucket]]]
"""Returns the buckets of the cameras of one time zone."""


async def answer_by_time_zone(
    engine: AsyncEngine, size: str, cameras: Sequence[KnownCamera], answer: AnswerOfZone[_Bucket]
) -> tuple[list[_Bucket], str]:
    """Return the buckets of all cameras, each cut in the time zone of its site.

    The second value is the name of the time zone; it is empty if the buckets have several.

    Raises:
        TooManyBucketsError: the answer is longer than the limit.
    """
    by_zone: dict[SiteZones, list[KnownCamera]] = defaultdict(list)
    for camera in cameras:
        by_zone[camera.site_zones].append(camera)
    buckets: list[_Bucket] = []
    async with engine.connect() as connection:
        for zones, of_zone in by_zone.items():
            buckets += await answer(connection, zones, of_zone)
            check_length(size, len(buckets))
    names = {bucket.time_zone for bucket in buckets} or {zones.zone.key for zones in by_zone}
    return buckets, names.pop() or "" if len(names) == 1 else ""
