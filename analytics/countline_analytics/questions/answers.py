"""Answers in buckets, for cameras that may lie in several time zones."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from countline_analytics.directory import KnownCamera
from countline_analytics.questions.buckets import check_length
from countline_common.site_zones import SiteZones


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
