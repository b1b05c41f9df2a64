"""Answers in buckets, for cameras that may lie in several time zones."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from countline_analytics.directory import KnownCamera
from countline_analytics.questions.buckets import check_length

_Bucket = TypeVar("_Bucket")
AnswerOfZone = Callable[[AsyncConnection, ZoneInfo, Sequence[KnownCamera]], Awaitable[list[_Bucket]]]
"""Returns the buckets of the cameras of one time zone."""


async def answer_by_time_zone(
    engine: AsyncEngine, size: str, cameras: Sequence[KnownCamera], answer: AnswerOfZone[_Bucket]
) -> tuple[list[_Bucket], str]:
    """Return the buckets of all cameras, each cut in its own time zone.

    The second value is the name of the time zone; it is empty if the cameras lie in several.

    Raises:
        TooManyBucketsError: the answer is longer than the limit.
    """
    by_zone: dict[ZoneInfo, list[KnownCamera]] = defaultdict(list)
    for camera in cameras:
        by_zone[camera.zone].append(camera)
    buckets: list[_Bucket] = []
    async with engine.connect() as connection:
        for zone, of_zone in by_zone.items():
            buckets += await answer(connection, zone, of_zone)
            check_length(size, len(buckets))
    name = next(iter(by_zone)).key if len(by_zone) == 1 else ""
    return buckets, name or ""
