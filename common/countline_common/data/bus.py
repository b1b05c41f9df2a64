"""The bus: one way to connect to NATS, the subjects, and the JetStream streams that must exist.

Every process calls `ensure_streams` when it connects, so the order of starting does not matter.
"""

import asyncio
import re
from typing import Final

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from countline_common.errors import InvalidInputError, UnavailableError
from countline_common.logs import get_logger, redact

COUNTS: Final = "COUNTS"
STATUS: Final = "STATUS"
DOMAIN: Final = "DOMAIN"
JOBS: Final = "JOBS"
NOTIFY: Final = "NOTIFY"
TRIALS: Final = "TRIALS"
DLQ: Final = "DLQ"

GIB: Final = 1024**3
CONNECT_TIMEOUT_S: Final = 5.0
FIRST_CONNECTION_S: Final = 6.0
"""How long the first connection is tried, over all servers."""
RECONNECT_WAIT_S: Final = 0.5
DUPLICATE_WINDOW_S: Final = 600.0
"""How long JetStream remembers message ids. A repeat after that is caught by the database's key all the same."""

_TOKEN: Final = re.compile(r"[^\s.*>]+")
_log = get_logger(__name__)


def _token(value: str) -> str:
    # An id with a dot or a wildcard in it would publish to, or listen on, somebody else's subject.
    if not _TOKEN.fullmatch(value):
        raise InvalidInputError(f"{value!r} cannot be part of a NATS subject", hint="use letters, digits and hyphens")
    return value


def counts_subject(site_id: str, camera_id: str) -> str:
    """Where a camera's `CountRecord`s go."""
    return f"countline.counts.{_token(site_id)}.{_token(camera_id)}"


def status_subject(camera_id: str) -> str:
    """Where the last `CameraReport` of a camera is kept."""
    return f"countline.status.{_token(camera_id)}"


def live_subject(camera_id: str) -> str:
    """Boxes for overlays (`LiveFrame`); core NATS, lossy."""
    return f"countline.live.{_token(camera_id)}"


def preview_subject(camera_id: str) -> str:
    """Pictures (`PreviewFrame`); core NATS, only while somebody watches."""
    return f"countline.preview.{_token(camera_id)}"


def watch_subject(camera_id: str) -> str:
    """Sent every two seconds by whoever watches a camera; it lapses after five."""
    return f"countline.watch.{_token(camera_id)}"


def trial_subject(trial_id: str, camera_id: str) -> str:
    """Where the `TrialRecord`s of a trial on a camera go."""
    return f"countline.trials.{_token(trial_id)}.{_token(camera_id)}"


def domain_subject(aggregate: str, event: str) -> str:
    """Where a domain event goes, such as `countline.domain.camera.created`."""
    return f"countline.domain.{_token(aggregate)}.{_token(event)}"


def dlq_subject(stream: str) -> str:
    """Where messages of a stream go that cannot be handled."""
    return f"countline.dlq.{_token(stream)}"


def stream_configs(*, replicas: int = 1, counts_max_bytes: int = 10 * GIB) -> list[StreamConfig]:
    """The streams of the product.

    COUNTS discards *new* messages when it is full: the publisher then keeps them in its spool, and nothing is lost.
    """
    file = StorageType.FILE
    return [
        StreamConfig(
            name=COUNTS,
            subjects=["countline.counts.>"],
            storage=file,
            discard=DiscardPolicy.NEW,
            max_bytes=counts_max_bytes,
            duplicate_window=DUPLICATE_WINDOW_S,
            num_replicas=replicas,
        ),
        StreamConfig(
            name=STATUS, subjects=["countline.status.>"], storage=file, max_msgs_per_subject=1, num_replicas=replicas
        ),
        StreamConfig(name=DOMAIN, subjects=["countline.domain.>"], storage=file, max_bytes=GIB, num_replicas=replicas),
        StreamConfig(
            name=JOBS,
            subjects=["countline.jobs.>"],
            storage=file,
            retention=RetentionPolicy.WORK_QUEUE,
            num_replicas=replicas,
        ),
        StreamConfig(
            name=NOTIFY,
            subjects=["countline.notify"],
            storage=file,
            retention=RetentionPolicy.WORK_QUEUE,
            num_replicas=replicas,
        ),
        StreamConfig(
            name=TRIALS,
            subjects=["countline.trials.>"],
            storage=file,
            max_bytes=GIB,
            duplicate_window=DUPLICATE_WINDOW_S,
            num_replicas=replicas,
        ),
        StreamConfig(name=DLQ, subjects=["countline.dlq.>"], storage=file, max_bytes=GIB, num_replicas=replicas),
    ]


async def ensure_streams(js: JetStreamContext, *, replicas: int = 1, counts_max_bytes: int = 10 * GIB) -> None:
    """Create the streams that are missing; those that exist are left as their operator set them."""
    for config in stream_configs(replicas=replicas, counts_max_bytes=counts_max_bytes):
        try:
            await js.stream_info(str(config.name))
        except NotFoundError:
            await _create(js, config)


async def _create(js: JetStreamContext, config: StreamConfig) -> None:
    try:
        await js.add_stream(config)
    except BadRequestError as error:
        # Two processes that start together both find it missing; the later one is told that it is there.
        if "already in use" not in (error.description or ""):
            raise


async def connect(url: str, name: str) -> Client:
    """Connect to NATS; once connected, the client reconnects for ever.

    Args:
        url: `nats://user:password@host:port`, several by commas.
        name: shown in the server's list of connections.

    Raises:
        UnavailableError: no server answers now.
    """

    async def on_error(error: Exception) -> None:
        _log.warning("bus.error", error=redact(str(error)))

    async def on_disconnect() -> None:
        _log.warning("bus.disconnected")

    async def on_reconnect() -> None:
        _log.info("bus.reconnected")

    client = Client()
    try:
        # A client that is to reconnect for ever would also go on for ever with the first connection.
        async with asyncio.timeout(FIRST_CONNECTION_S):
            await client.connect(
                url.split(","),
                name=name,
                connect_timeout=CONNECT_TIMEOUT_S,  # type: ignore[arg-type]  # fractions are fine, whatever nats-py says
                reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # as above
                max_reconnect_attempts=-1,
                allow_reconnect=True,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
            )
    except (OSError, TimeoutError, nats.errors.Error) as error:
        await client.close()
        raise UnavailableError(
            f"NATS at {redact(url)} does not answer: {redact(str(error)) or type(error).__name__}",
            hint="start it, or set COUNTLINE_NATS_URL to where it is",
        ) from error
    return client
