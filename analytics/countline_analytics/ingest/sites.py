"""Follows the announcements of sites, so that analytics knows their time zones while the camera service is away.

The stream DOMAIN holds the announcements; a durable consumer reads each of them once.
"""

import asyncio
import contextlib
from datetime import date
from typing import Final

import nats.errors
import psycopg
from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from countline.v1 import cameras_pb2
from countline_analytics.instants import from_proto
from countline_analytics.store.sql import query
from countline_common.data.bus import DOMAIN, domain_subject, ensure_streams
from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.resilience.retry import Backoff
from countline_common.time_zones import find_time_zone
from countline_common.waiting import happens

DURABLE: Final = "analytics-sites"
SUBJECT: Final = domain_subject("site", "any").replace("any", "*")
READ_AT_ONCE: Final = 100
READ_WAIT_S: Final = 2.0
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0

_log = get_logger(__name__)


class SiteFollower:
    """Stores the time zones of sites.

    Args:
        client: connected to NATS.
        engine: connects to the analytics database.
    """

    def __init__(self, client: Client, engine: AsyncEngine) -> None:
        self._js = client.jetstream()
        self._engine = engine

    async def run(self, stopping: asyncio.Event) -> None:
        """Follow until `stopping` is set."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while not stopping.is_set():
            try:
                await self._follow(stopping, backoff)
            except (
                CountlineError,
                nats.errors.Error,
                psycopg.Error,
                DBAPIError,
                PoolTimeoutError,
                OSError,
                TimeoutError,
            ) as error:
                _log.warning("sites.retry", error=redact(str(error)) or type(error).__name__)
                await happens(stopping, backoff.next_s())

    async def _follow(self, stopping: asyncio.Event, backoff: Backoff) -> None:
        await ensure_streams(self._js)
        config = ConsumerConfig(
            durable_name=DURABLE,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            filter_subject=SUBJECT,
        )
        await self._js.add_consumer(DOMAIN, config)
        subscription = await self._js.pull_subscribe_bind(DURABLE, DOMAIN)
        try:
            while not stopping.is_set():
                with contextlib.suppress(nats.errors.TimeoutError):
                    for message in await subscription.fetch(READ_AT_ONCE, timeout=READ_WAIT_S):
                        await self._take(message)
                        await message.ack()
                backoff.reset()
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _take(self, message: Msg) -> None:
        parameters = _parameters(message)
        if parameters is not None:
            async with self._engine.begin() as connection:
                await connection.execute(query("ingest", "remember_site"), parameters)


def _parameters(message: Msg) -> dict[str, object] | None:
    """Return the site of an announcement; None, with a log line, if it cannot be read."""
    try:
        site = cameras_pb2.Site.FromString(message.data)
        zones = [_known(site.time_zone), *(_known(each.time_zone) for each in site.earlier_time_zones)]
        return {
            "site_id": site.site_id,
            "created_at": from_proto(site.created_at),
            "revision": site.revision,
            "time_zone": site.time_zone,
            "earlier_zones": zones[1:],
            "until": [date.fromisoformat(each.until) for each in site.earlier_time_zones],
        }
    except (DecodeError, ValueError, CountlineError) as error:
        _log.error("sites.unreadable", subject=message.subject, error=str(error))
        return None


def _known(time_zone: str) -> str:
    if find_time_zone(time_zone) is None:
        raise ValueError(f"unknown time zone {time_zone!r}")
    return time_zone
