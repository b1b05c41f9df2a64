"""NATS: the connection, the subjects, and the JetStream streams of the product.

Every process calls `ensure_streams` when it connects. Where parts have users of their own (`bus_users`), only that of
the control-plane may create streams, and the others wait for it. So the start order does not matter.
"""

import asyncio
import re
from typing import Final

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError

from countline_common.data.bus_client import BusClient, BusJetStream
from countline_common.errors import CountlineError, InvalidInputError, UnavailableError
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.tls.files import TlsFiles
from countline_common.tls.nats import NatsTls

COUNTS: Final = "COUNTS"
STATUS: Final = "STATUS"
DOMAIN: Final = "DOMAIN"
JOBS: Final = "JOBS"
NOTIFY: Final = "NOTIFY"
TRIALS: Final = "TRIALS"
DLQ: Final = "DLQ"
AUDIT: Final = "AUDIT"
AUDIT_CHECKPOINTS: Final = "AUDIT_CHECKPOINTS"
LOGS: Final = "LOGS"
PARTS: Final = "PARTS"

MIB: Final = 1024**2
GIB: Final = 1024**3
LOGS_KEPT_S: Final = 7 * 24 * 3600.0
PARTS_KEPT_S: Final = 900.0
CONNECT_TIMEOUT_S: Final = 5.0
FIRST_CONNECTION_S: Final = 6.0
"""Time limit of the first connection, over all servers."""
RECONNECT_WAIT_S: Final = 0.5
DUPLICATE_WINDOW_S: Final = 600.0
"""How long JetStream remembers message ids. The database's key catches later repeats."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What may be between two dots of a subject. NATS closes a connection for good whose line is too long."""
_log = get_logger(__name__)


def _token(value: str) -> str:
    # An id with a dot or a wildcard would reach the subject of another camera.
    if not _TOKEN.fullmatch(value):
        raise InvalidInputError(
            f"{value[:80]!r} cannot be part of a NATS subject",
            hint="use 1 to 128 letters, digits, hyphens and underscores",
        )
    return value


def counts_subject(site_id: str, camera_id: str) -> str:
    """Subject of a camera's `CountRecord`s."""
    return f"countline.counts.{_token(site_id)}.{_token(camera_id)}"


def status_subject(camera_id: str) -> str:
    """Subject of a camera's `CameraReport`s; the last one is kept."""
    return f"countline.status.{_token(camera_id)}"


def live_subject(camera_id: str) -> str:
    """Boxes for overlays (`LiveFrame`); core NATS, lossy."""
    return f"countline.live.{_token(camera_id)}"


def preview_subject(camera_id: str) -> str:
    """Pictures (`PreviewFrame`); core NATS, only while a viewer watches."""
    return f"countline.preview.{_token(camera_id)}"


def watch_subject(camera_id: str) -> str:
    """Subject on which each viewer of a camera publishes every two seconds; a request expires after five."""
    return f"countline.watch.{_token(camera_id)}"


def trial_subject(trial_id: str, camera_id: str) -> str:
    """Subject of the `TrialRecord`s of a trial on a camera."""
    return f"countline.trials.{_token(trial_id)}.{_token(camera_id)}"


def domain_subject(aggregate: str, event: str) -> str:
    """Subject of a domain event, such as `countline.domain.camera.created`."""
    return f"countline.domain.{_token(aggregate)}.{_token(event)}"


def audit_subject(part: str) -> str:
    """Subject of the `AuditRow`s of a service, such as `countline.audit.rows.cameras`."""
    return f"countline.audit.rows.{_token(part)}"


CHECKPOINT_SUBJECTS: Final = "countline.audit.checkpoints.>"


def checkpoint_subject(*, purge: bool) -> str:
    """Subject of the `AuditCheckpoint`s of rows, or of purges."""
    return f"countline.audit.checkpoints.{'purges' if purge else 'rows'}"


def logs_subject(part: str) -> str:
    """Subject of the `LogBatch`es of a part."""
    return f"countline.logs.{_token(part)}"


def parts_subject(part: str, key: str) -> str:
    """Subject of the `PartReport`s of one process; the last one is kept.

    Args:
        part: such as `worker`.
        key: distinguishes processes of one part.
    """
    return f"countline.parts.{_token(part)}.{_token(key)}"


def dlq_subject(stream: str) -> str:
    """Subject of a stream's messages that cannot be handled."""
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
        *_audit_configs(replicas),
        *_operation_configs(replicas),
        StreamConfig(name=DLQ, subjects=["countline.dlq.>"], storage=file, max_bytes=GIB, num_replicas=replicas),
    ]


def _audit_configs(replicas: int) -> list[StreamConfig]:
    """Return the streams of the audit.

    AUDIT refuses rows while it is full, and the outboxes keep them. AUDIT_CHECKPOINTS refuses too: a flood of other
    messages must not push out the checkpoints that prove what the database held.
    """
    return [
        StreamConfig(
            name=AUDIT,
            subjects=["countline.audit.rows.>"],
            storage=StorageType.FILE,
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_bytes=GIB,
            duplicate_window=DUPLICATE_WINDOW_S,
            num_replicas=replicas,
            deny_delete=True,
            deny_purge=True,
        ),
        StreamConfig(
            name=AUDIT_CHECKPOINTS,
            subjects=[CHECKPOINT_SUBJECTS],
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_bytes=GIB,
            num_replicas=replicas,
            deny_delete=True,
            deny_purge=True,
        ),
    ]


def _operation_configs(replicas: int) -> list[StreamConfig]:
    """Return the streams of log lines and of running parts. Both drop the oldest messages."""
    return [
        StreamConfig(
            name=LOGS,
            subjects=["countline.logs.>"],
            storage=StorageType.FILE,
            max_bytes=128 * MIB,
            max_age=LOGS_KEPT_S,
            num_replicas=replicas,
        ),
        StreamConfig(
            name=PARTS,
            subjects=["countline.parts.>"],
            storage=StorageType.MEMORY,
            max_msgs_per_subject=1,
            max_bytes=16 * MIB,
            max_age=PARTS_KEPT_S,
            num_replicas=replicas,
        ),
    ]


async def ensure_streams(js: JetStreamContext, *, replicas: int = 1, counts_max_bytes: int = 10 * GIB) -> None:
    """Create missing streams. Existing streams keep the settings of their operator, but close those of the audit.

    What the user of this connection may not do is left to the control-plane.
    """
    for config in stream_configs(replicas=replicas, counts_max_bytes=counts_max_bytes):
        try:
            found = (await js.stream_info(str(config.name))).config
        except NotFoundError:
            if await may_publish(js, f"$JS.API.STREAM.CREATE.{config.name}"):
                await _create(js, config)
        else:
            if _is_open(config, found) and await may_publish(js, f"$JS.API.STREAM.UPDATE.{config.name}"):
                await _close(js, found, config)


async def may_publish(js: JetStreamContext, subject: str) -> bool:
    """Whether the user of a connection may publish on a subject, as far as NATS says."""
    return not isinstance(js, BusJetStream) or await js.client.may_publish(subject)


def _is_open(config: StreamConfig, found: StreamConfig) -> bool:
    """Whether messages of a stream of the audit, as it was found, can be deleted, purged or pushed out."""
    wanted = (True, True, config.discard)
    return bool(config.deny_purge) and (found.deny_delete, found.deny_purge, found.discard) != wanted


async def _close(js: JetStreamContext, found: StreamConfig, config: StreamConfig) -> None:
    """Let NATS refuse to delete, purge or push out messages of a stream that an earlier release created."""
    try:
        await js.update_stream(found.evolve(deny_delete=True, deny_purge=True, discard=config.discard))
    except APIError as error:
        _log.warning("bus.stream_open", stream=found.name, error=error.description or type(error).__name__)


async def _create(js: JetStreamContext, config: StreamConfig) -> None:
    try:
        await js.add_stream(config)
    except BadRequestError as error:
        # Two processes that start together both find the stream missing; the later one gets this error.
        if "already in use" not in (error.description or ""):
            raise


async def connect(url: str, name: str, tls: TlsFiles | None = None, user: str = "") -> BusClient:
    """Connect to NATS; the connected client then reconnects without limit.

    If NATS closes the connection for good, the process no longer passes its health check and is restarted, unless
    the caller makes the connection anew and forgets the fault `bus NAME`.

    Args:
        url: `nats://user:password@host:port`, several separated by commas. With `tls://`, TLS begins with the
            connection, so that no one on the way can talk the client out of it.
        name: shown in the server's list of connections.
        tls: certificate files; needed for `tls://`, and read again for each new connection.
        user: such as `worker`, of `bus_users`: answers come on a prefix that only this user may subscribe to. The
            address may name another user.

    Raises:
        UnavailableError: no server answers now, or TLS fails.
        InvalidInputError: the certificate files are missing or cannot be used.
    """
    security = NatsTls(url, tls)

    async def on_error(error: Exception) -> None:
        if client.refused(error):
            return
        _log.warning("bus.error", error=redact(str(error)))
        if client.is_new and "," not in url and (cause := security.cause(error)):
            raise cause from error  # nats-py would try again, which does not help with one server

    async def on_disconnect() -> None:
        _log.warning("bus.disconnected")
        security.reload()

    async def on_reconnect() -> None:
        client.forget_refusals()
        _log.info("bus.reconnected")

    client = BusClient()
    client.part = f"bus {name}"
    try:
        # A client that reconnects without limit also tries the first connection without limit.
        async with asyncio.timeout(FIRST_CONNECTION_S):
            await client.connect(
                url.split(","),
                name=name,
                connect_timeout=CONNECT_TIMEOUT_S,  # type: ignore[arg-type]  # nats-py accepts fractions, against its annotation
                reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # as above
                max_reconnect_attempts=-1,
                allow_reconnect=True,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                inbox_prefix=inbox_prefix(user),
                tls=security.context,
                tls_handshake_first=security.context is not None,
            )
    except (OSError, TimeoutError, nats.errors.Error, CountlineError) as error:
        await client.abandon()
        raise _no_connection(client, security, url, error) from error
    client.is_new = False
    client.watch()
    return client


def inbox_prefix(user: str) -> str:
    """Return the prefix of the subjects on which a user gets answers."""
    return f"_INBOX_{user}" if user else "_INBOX"


def _no_connection(client: BusClient, security: NatsTls, url: str, error: Exception) -> CountlineError:
    if isinstance(error, CountlineError):
        return error
    return security.cause(client.last_error or error) or UnavailableError(
        f"NATS at {redact(url)} does not answer: {redact(str(error)) or type(error).__name__}",
        hint="start it, or set COUNTLINE_NATS_URL to its address",
    )
