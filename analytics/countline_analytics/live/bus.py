"""The API process on NATS: boxes and pictures while a client watches, and the status of cameras.

This path is lossy: messages published while the connection is down are gone, and the next frame follows soon. The
process connects in the background and reconnects for ever. REST and counts do not use this connection.
"""

import asyncio
import contextlib
import json
import struct
from collections.abc import Callable, Container, Iterable
from typing import Any, Final

import nats.errors
from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from countline.v1 import cameras_pb2, events_pb2, workers_pb2
from countline_common.data import bus
from countline_common.data.bus_client import BusClient
from countline_common.errors import CountlineError, UnavailableError
from countline_common.http.rest_json import to_json
from countline_common.logs import get_logger
from countline_common.redaction import redact
from countline_common.resilience.retry import Backoff
from countline_common.resilience.vitality import forget_fault
from countline_common.times import from_timestamp, rfc3339
from countline_common.tls.files import TlsFiles

KEEP_ALIVE_PERIOD_S: Final = 2.0
STATUS_SUBJECT: Final = "countline.status.*"
CAMERA_CREATED: Final = bus.domain_subject("camera", "created")
CAMERA_DELETED: Final = bus.domain_subject("camera", "deleted")
MOST_DELETED: Final = 10_000
"""Deleted cameras whose late statuses are left out; of more, the earliest are forgotten."""
READ_AT_ONCE: Final = 500
READ_WAIT_S: Final = 1.0
CHECK_PERIOD_S: Final = 1.0
_HEADER_LENGTH: Final = struct.Struct("!I")

Take = Callable[[str | bytes], None]
"""Takes a message for WebSocket clients. Must not block."""

_log = get_logger(__name__)


class LiveBus:
    """The connection to NATS, made as soon as NATS answers.

    Args:
        url: of NATS.
        tls: certificate files; None without TLS.
    """

    def __init__(self, url: str, tls: TlsFiles | None = None) -> None:
        self._url = url
        self._tls = tls
        self._client: asyncio.Future[BusClient] = asyncio.get_running_loop().create_future()
        self.has_ended = False
        """Whether `run` has ended, and no connection is made any more."""

    async def run(self) -> None:
        """Connect, and stay connected until cancelled; a connection that NATS closed for good is made anew."""
        try:
            while True:
                await self._connect()
                await self._client.result().lost()
                self._client = asyncio.get_running_loop().create_future()
        finally:
            self.has_ended = True
            if self._client.done():
                await self._client.result().close()

    async def _connect(self) -> None:
        backoff = Backoff()
        while not self._client.done():
            try:
                self._client.set_result(await bus.connect(self._url, "api", self._tls, user="api"))
                forget_fault("bus api")
            except UnavailableError as error:
                _log.warning("waiting", part="nats", error=error.message)
                await asyncio.sleep(backoff.next_s())

    async def client(self) -> Client:
        """Wait for the connection and return the client; after its end, the next one.

        Raises:
            UnavailableError: no connection is made any more.
        """
        while not self.has_ended:
            client = await asyncio.shield(self._client)
            if not client.is_closed:
                return client
            await asyncio.sleep(CHECK_PERIOD_S)  # NATS closed it; `run` makes another one
        raise UnavailableError("the connection to NATS has ended")

    @property
    def jetstream(self) -> JetStreamContext | None:
        """JetStream of the connection; None while NATS is away."""
        client = self._client.result() if self._client.done() and not self._client.cancelled() else None
        return client.jetstream() if client is not None and client.is_connected else None

    async def check(self) -> None:
        """Health check: raise while NATS is not connected."""
        if not self._client.done() or not self._client.result().is_connected:
            raise UnavailableError("NATS is not connected")


async def follow_changes(live_bus: LiveBus, *takes: Callable[[Msg], None]) -> None:
    """Pass on each announcement of a changed camera or site, until cancelled. An announcement may be lost."""

    async def announced(message: Msg) -> None:
        for take in takes:
            take(message)

    while not live_bus.has_ended:
        with contextlib.suppress(nats.errors.Error, OSError, UnavailableError):  # it was closed at that moment
            client = await live_bus.client()
            for aggregate in ("camera", "site"):
                await client.subscribe(bus.domain_subject(aggregate, "any").replace("any", "*"), cb=announced)
            while not client.is_closed:  # noqa: ASYNC110  # nats-py has no event that comes for certain
                await asyncio.sleep(CHECK_PERIOD_S)
        await asyncio.sleep(CHECK_PERIOD_S)


class Relay:
    """Forwards the live messages of one camera to its watchers, and keeps the worker informed that it is watched."""

    def __init__(
        self, live_bus: LiveBus, subject: str, watch_subject: str, translate: Callable[[bytes], str | bytes]
    ) -> None:
        self._bus = live_bus
        self._subject = subject
        self._watch_subject = watch_subject
        self._translate = translate
        self._takers: set[Take] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, take: Take) -> None:
        """Add a watcher. The first watcher starts the relay."""
        self._takers.add(take)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"relay of {self._subject}")

    async def remove(self, take: Take) -> None:
        """Remove a watcher. Removing the last watcher ends the relay."""
        self._takers.discard(take)
        if self._takers or self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    @property
    def is_idle(self) -> bool:
        """Whether the relay has no watcher."""
        return not self._takers

    async def _run(self) -> None:
        # nats-py raises an error of its own instead of a cancellation if the connection closes at that moment; then
        # nobody watches any more, or the bus has ended.
        while self._takers and not self._bus.has_ended:
            with contextlib.suppress(nats.errors.Error, OSError, UnavailableError):
                await self._forward(await self._bus.client())
            if not self._bus.has_ended:
                await asyncio.sleep(CHECK_PERIOD_S)

    async def _forward(self, client: Client) -> None:
        """Forward over one connection, until it is closed."""
        subscription = await client.subscribe(self._subject, cb=self._received)
        try:
            while not client.is_closed:
                # While NATS is not connected, no worker can receive this.
                if client.is_connected:
                    with contextlib.suppress(nats.errors.Error, OSError):
                        await client.publish(self._watch_subject, b"")
                await asyncio.sleep(KEEP_ALIVE_PERIOD_S)
        finally:
            if not client.is_closed:
                with contextlib.suppress(nats.errors.Error, OSError):
                    await subscription.unsubscribe()

    async def _received(self, message: Msg) -> None:
        try:
            translated = self._translate(message.data)
        except DecodeError:
            _log.warning("relay.undecodable", subject=message.subject)
            return
        for take in list(self._takers):
            take(translated)


def live_message(data: bytes) -> str:
    """Return a `LiveFrame` in the form that WebSocket clients receive."""
    frame = events_pb2.LiveFrame.FromString(data)
    return json.dumps(
        {
            "type": "live",
            "camera_id": frame.camera_id,
            "t": rfc3339(from_timestamp(frame.t)),
            "size": [frame.width, frame.height],
            "boxes": _boxes(frame.boxes),
        },
        separators=(",", ":"),
    )


def preview_message(data: bytes) -> bytes:
    """Return a `PreviewFrame` in the form that WebSocket clients receive: header length, JSON header, JPEG."""
    frame = events_pb2.PreviewFrame.FromString(data)
    header = json.dumps(
        {
            "type": "preview",
            "camera_id": frame.camera_id,
            "t": rfc3339(from_timestamp(frame.t)),
            "size": [frame.width, frame.height],
            "source_size": [frame.source_width, frame.source_height],
            "boxes": _boxes(frame.boxes),
        },
        separators=(",", ":"),
    ).encode()
    return _HEADER_LENGTH.pack(len(header)) + header + frame.jpeg


def _boxes(boxes: Iterable[events_pb2.LiveBox]) -> list[dict[str, Any]]:
    return [
        {
            "track": box.track,
            "box": [round(edge, 1) for edge in (box.x1, box.y1, box.x2, box.y2)],
            "score": round(box.score, 3),
            "class": box.class_name,
        }
        for box in boxes
    ]


class StatusBoard:
    """Holds the last status of each camera and publishes each change."""

    def __init__(self, live_bus: LiveBus) -> None:
        self._bus = live_bus
        self._last: dict[str, str] = {}
        self._deleted: dict[str, None] = {}
        self._listeners: set[Callable[[str], None]] = set()

    def subscribe(self, put: Callable[[str], None], current: Container[str]) -> None:
        """Send the last status of every current camera, and then each change.

        Args:
            put: takes the messages. Must not block.
            current: ids of the cameras that exist. The stream keeps the last status of a deleted camera.
        """
        self._listeners.add(put)
        for camera_id, message in self._last.items():
            if camera_id in current:
                put(message)

    def unsubscribe(self, put: Callable[[str], None]) -> None:
        """Stop sending changes."""
        self._listeners.discard(put)

    def announced(self, message: Msg) -> None:
        """Take a domain event: a worker may report a camera for a moment after its deletion."""
        if message.subject not in {CAMERA_CREATED, CAMERA_DELETED}:
            return
        try:
            camera_id = cameras_pb2.Camera.FromString(message.data).camera_id
        except DecodeError:
            _log.warning("status.undecodable", subject=message.subject)
            return
        self._deleted.pop(camera_id, None)
        if message.subject == CAMERA_DELETED:
            self._last.pop(camera_id, None)
            self._deleted[camera_id] = None
            if len(self._deleted) > MOST_DELETED:
                del self._deleted[next(iter(self._deleted))]

    async def run(self) -> None:
        """Follow statuses until cancelled. Each (re)connection reads the last status of every camera."""
        while not self._bus.has_ended:
            with contextlib.suppress(nats.errors.Error, OSError, UnavailableError):  # it was closed at that moment
                await self._follow(await self._bus.client())
            if not self._bus.has_ended:
                await asyncio.sleep(CHECK_PERIOD_S)

    async def _follow(self, client: Client) -> None:
        """Follow statuses over one connection, until it is closed."""
        await client.subscribe(STATUS_SUBJECT, cb=self._received)
        read_at, backoff = -1, Backoff()
        # nats-py raises an error of its own instead of a cancellation if the connection closes at that moment; then
        # `is_closed` ends the loop.
        while not client.is_closed:
            pause_s = CHECK_PERIOD_S
            reconnects = client.stats["reconnects"]
            if client.is_connected and reconnects != read_at:
                try:
                    await self._read_last(client)
                    read_at = reconnects
                    backoff.reset()
                except nats.errors.ConnectionClosedError:
                    return
                except (CountlineError, nats.errors.Error, OSError, TimeoutError) as error:
                    _log.warning("status.retry", error=redact(str(error)))
                    pause_s = backoff.next_s()
            await asyncio.sleep(pause_s)

    async def _read_last(self, client: Client) -> None:
        js = client.jetstream()
        await bus.ensure_streams(js)
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT, ack_policy=AckPolicy.NONE, inactive_threshold=30.0
        )
        subscription = await js.pull_subscribe(STATUS_SUBJECT, stream=bus.STATUS, config=config)
        try:
            while True:
                for message in await subscription.fetch(READ_AT_ONCE, timeout=READ_WAIT_S):
                    self._take(message)
        except TimeoutError:
            pass  # the stream has no more messages
        finally:
            # An error raised here would hide a pending cancellation.
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _received(self, message: Msg) -> None:
        self._take(message)

    def _take(self, message: Msg) -> None:
        try:
            report = workers_pb2.CameraReport.FromString(message.data)
        except DecodeError:
            _log.warning("status.undecodable", subject=message.subject)
            return
        if report.camera_id in self._deleted:
            return
        text = json.dumps({"type": "status", "camera_id": report.camera_id, "observed": to_json(report.observed)})
        if self._last.get(report.camera_id) != text:
            self._last[report.camera_id] = text
            for put in list(self._listeners):
                put(text)
