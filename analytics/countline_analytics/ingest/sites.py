"""Follows the announcements of sites, so that analytics knows their time zones while the camera service is away.

The stream DOMAIN holds the announcements; a durable consumer reads each of them once.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date
from typing import Final

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from sqlalchemy.ext.asyncio import AsyncEngine

from countline.v1 import cameras_pb2
from countline_analytics.instants import from_proto
from countline_analytics.store.sql import query
from countline_common.data.bus import DOMAIN, domain_subject, ensure_streams
from countline_common.data.following import StreamFollower
from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.time_zones import find_time_zone

DURABLE: Final = "analytics-sites"
SUBJECT: Final = domain_subject("site", "any").replace("any", "*")

_log = get_logger(__name__)


class SiteFollower(StreamFollower):
    """Stores the time zones of sites.

    Args:
        jetstream: returns the connection to NATS; None while NATS is away.
        engine: connects to the analytics database.
        stopping: as for `StreamFollower`.
    """

    def __init__(
        self,
        jetstream: Callable[[], JetStreamContext | None],
        engine: AsyncEngine,
        stopping: asyncio.Event | None = None,
    ) -> None:
        super().__init__("sites", jetstream, stopping)
        self._engine = engine

    async def follow(self, jetstream: JetStreamContext) -> None:
        """Follow over one connection."""
        await ensure_streams(jetstream)
        config = ConsumerConfig(
            durable_name=DURABLE,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            filter_subject=SUBJECT,
        )
        await jetstream.add_consumer(DOMAIN, config)
        await self.consume(await jetstream.pull_subscribe_bind(DURABLE, DOMAIN), self._take)

    async def _take(self, messages: Sequence[Msg]) -> None:
        for message in messages:
            if (parameters := _parameters(message)) is not None:
                async with self._engine.begin() as connection:
                    await connection.execute(query("ingest", "remember_site"), parameters)
            await message.ack()


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
