"""`/ws`: live counts, boxes and pictures for logged-in clients.

The first message of a client is its access token or API key. Then the client subscribes to channels: `counts`,
`status`, `live:<camera>`, `preview:<camera>`. Before an access token expires the client sends a new one; otherwise the
server closes the socket with code 4401. It does the same when a token or key is revoked.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import WSMsgType, web
from prometheus_client import Counter, Gauge

from countline_analytics.directory import CameraDirectory
from countline_analytics.live.bus import LiveBus, Relay, StatusBoard, Take, live_message, preview_message
from countline_analytics.live.client import CLOSE_TOO_SLOW, ClientQueue, SlowClientError, send_all
from countline_analytics.live.feed import CrossingFeed
from countline_analytics.live.visible import LOOK_PERIOD_S, CountsView, VisibleCameras
from countline_common.data import bus
from countline_common.errors import (
    CountlineError,
    InvalidInputError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)
from countline_common.grpc.authorization import require
from countline_common.grpc.tokens import Principal, TokenVerifier
from countline_common.tasks import cancel
from countline_common.untrusted_json import parse_json
from countline_common.waiting import happens

AUTH_WITHIN_S: Final = 10.0
CHECK_PERIOD_S: Final = 1.0
"""How often it is checked whether the client's login has ended."""
HEARTBEAT_S: Final = 20.0
MAX_MESSAGE_BYTES: Final = 64 * 1024
MAX_CHANNELS: Final = 200
LONGEST_SHOWN: Final = 100
"""Characters of a client's text in an error."""
MAX_CLIENTS: Final = 1000
CLOSE_UNAUTHENTICATED: Final = 4401
CLOSE_TRY_LATER: Final = 1013
GOING_AWAY: Final = 1001
AUTH_HINT: Final = 'send {"type": "auth", "token": …} first'

CLIENTS: Final = Gauge("countline_websocket_clients", "Connected WebSocket clients")
DROPPED: Final = Counter("countline_websocket_dropped_total", "Pictures and boxes that newer ones replaced")
SLOW: Final = Counter("countline_websocket_slow_total", "Clients disconnected because they read too slowly")

PERMISSIONS: Final = {
    "counts": "analytics:read",
    "status": "camera:read",
    "live": "camera:read",
    "preview": "camera:read",
}


class LiveHub:
    """Serves the live channels to the clients of one process.

    Args:
        feed: publishes crossings.
        live_bus: the connection to NATS.
        statuses: publishes the status of cameras.
        verifier: checks access tokens.
        directory: looks up the cameras that a client may see.
    """

    def __init__(
        self,
        feed: CrossingFeed,
        live_bus: LiveBus,
        statuses: StatusBoard,
        verifier: TokenVerifier,
        directory: CameraDirectory,
    ) -> None:
        self.directory = directory
        self.feed = feed
        self.statuses = statuses
        self.verifier = verifier
        self._bus = live_bus
        self._relays: dict[str, Relay] = {}
        self._sockets: set[web.WebSocketResponse] = set()

    def relay(self, channel: str) -> Relay:
        """Return the relay of a `live:` or `preview:` channel."""
        if channel not in self._relays:
            kind, _, camera_id = channel.partition(":")
            subject = bus.live_subject(camera_id) if kind == "live" else bus.preview_subject(camera_id)
            translate: Callable[[bytes], str | bytes] = live_message if kind == "live" else preview_message
            self._relays[channel] = Relay(self._bus, subject, bus.watch_subject(camera_id), translate)
        return self._relays[channel]

    async def leave(self, channel: str, relay: Relay, take: Take) -> None:
        """End a subscription to a relay, and drop a relay without watchers."""
        await relay.remove(take)
        if relay.is_idle and self._relays.get(channel) is relay:
            del self._relays[channel]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until it disconnects."""
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, compress=False)
        await socket.prepare(request)
        if len(self._sockets) >= MAX_CLIENTS:
            await socket.close(code=CLOSE_TRY_LATER, message=b"too many clients")
            return socket
        self._sockets.add(socket)
        CLIENTS.set(len(self._sockets))
        try:
            await _Connection(self, socket).run()
        finally:
            self._sockets.discard(socket)
            CLIENTS.set(len(self._sockets))
        return socket

    async def close(self) -> None:
        """Close every socket, because the process stops."""
        await asyncio.gather(
            *(socket.close(code=GOING_AWAY, message=b"the server stops") for socket in list(self._sockets)),
            return_exceptions=True,
        )


class _Connection:
    """One client's subscriptions."""

    def __init__(self, hub: LiveHub, socket: web.WebSocketResponse) -> None:
        self._hub = hub
        self._socket = socket
        self._queue = ClientQueue()
        self._principal: Principal | None = None
        self._token = ""
        self._windows: dict[str, VisibleCameras] = {}
        """By permission, the cameras that the client may see."""
        self._authenticated = asyncio.Event()
        self._changing = asyncio.Lock()
        """Held while subscriptions change."""
        self._leave: dict[str, Callable[[], Awaitable[None]]] = {}
        """By channel, the function that ends its subscription."""

    async def run(self) -> None:
        """Read, send and watch the token until one of these tasks ends."""
        tasks = [
            asyncio.create_task(self._read(), name="websocket read"),
            asyncio.create_task(send_all(self._queue, self._socket), name="websocket send"),
            asyncio.create_task(self._watch_token(), name="websocket token"),
            asyncio.create_task(self._watch_windows(), name="websocket reach"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await self._end(next(iter(done)))
        finally:
            await cancel(*tasks)
            for leave in self._leave.values():
                await leave()
            DROPPED.inc(self._queue.dropped)

    async def _end(self, task: asyncio.Task[None]) -> None:
        """Close the socket with the code that fits how a task ended."""
        try:
            task.result()
        except SlowClientError:
            SLOW.inc()
            await self._close(CLOSE_TOO_SLOW, "too slow: resume after the last sequence")
        except UnauthenticatedError as error:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(1):
                    await self._socket.send_str(_error(error))
            await self._close(CLOSE_UNAUTHENTICATED, error.message)
        except ConnectionError:
            await self._close(GOING_AWAY, "")

    async def _close(self, code: int, reason: str) -> None:
        # A client that does not read does not read the close frame either; aiohttp then drops the connection.
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(2):
                await self._socket.close(code=code, message=reason.encode()[:120], drain=False)

    async def _watch_token(self) -> None:
        """Raise if no token arrives in time, and when the token expires."""
        await happens(self._authenticated, AUTH_WITHIN_S)
        while self._principal is not None:
            if await self._hub.verifier.again(self._token, self._principal) is not self._principal:
                async with self._changing:
                    await self._authenticate(self._token)
            left_s = self._principal.expires_at - time.time()
            if left_s <= 0:
                raise UnauthenticatedError(
                    "the access token has expired", hint="send a new token before the old one expires"
                )
            await asyncio.sleep(min(left_s, CHECK_PERIOD_S))
        raise UnauthenticatedError("no access token was sent in time", hint=AUTH_HINT)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                await self._take(_parse(message.data))
            except UnauthenticatedError:
                raise
            except CountlineError as error:
                self._queue.put(_error(error))

    async def _take(self, message: dict[str, Any]) -> None:
        async with self._changing:
            await self._obey(message)

    async def _obey(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "auth":
            await self._authenticate(str(message.get("token", "")))
            self._queue.put('{"type":"ready"}')
        elif kind == "ping":
            self._queue.put('{"type":"pong"}')
        elif kind == "subscribe":
            await self._subscribe(str(message.get("channel", "")), message.get("after"))
        elif kind == "unsubscribe":
            await self._unsubscribe(str(message.get("channel", "")))
        else:
            raise InvalidInputError(
                f"unknown message type {str(kind)[:LONGEST_SHOWN]!r}", hint="use auth, subscribe, unsubscribe or ping"
            )

    async def _authenticate(self, token: str) -> None:
        """Take a token, the first one or a newer one. Subscriptions that it does not permit end."""
        principal = await self._hub.verifier.identify(token)
        before, self._principal, self._token = self._principal, principal, token
        self._authenticated.set()
        if before is not None and before.held == self._principal.held:
            for window in self._windows.values():
                window.renew(self._principal, token)
            return
        self._windows.clear()
        for channel in list(self._leave):
            await self._renew(channel)

    async def _renew(self, channel: str) -> None:
        """Subscribe to a channel again; end the subscription if the client may not, or if this cannot be found out."""
        try:
            await self._subscribe(channel, None)
        except CountlineError as error:
            await self._unsubscribe(channel)
            self._queue.put(_error(error))

    async def _watch_windows(self) -> None:
        """Look again which cameras a client of limited reach may see."""
        while True:
            await asyncio.sleep(LOOK_PERIOD_S)
            with contextlib.suppress(UnavailableError):  # the client keeps what it may see
                async with self._changing:
                    await self._look_again()

    async def _look_again(self) -> None:
        for permission, window in self._windows.items():
            if await window.look():
                for channel in [each for each in self._leave if PERMISSIONS[each.partition(":")[0]] == permission]:
                    await self._renew(channel)

    async def _window(self, permission: str) -> VisibleCameras:
        """Return the cameras that the client may see."""
        if permission not in self._windows:
            assert self._principal is not None
            window = VisibleCameras(self._hub.directory, self._principal, self._token, permission)
            await window.look()
            self._windows[permission] = window
        return self._windows[permission]

    async def _subscribe(self, channel: str, after: Any) -> None:
        kind, _, camera_id = channel.partition(":")
        self._check(kind, channel, camera_id)
        window = await self._window(PERMISSIONS[kind])
        if camera_id and not window.shows(camera_id):
            raise PermissionDeniedError(
                f"you may not subscribe to {channel[:LONGEST_SHOWN]}", hint="ask an administrator for a wider grant"
            )
        if after is not None and (isinstance(after, bool) or not isinstance(after, int)):
            raise InvalidInputError(
                "`after` must be the sequence number of a crossing", hint="leave it out for a snapshot"
            )
        await self._unsubscribe(channel)
        if kind == "counts":
            view = CountsView(window, self._queue.put, after)
            self._leave[channel] = _later(self._hub.feed.unsubscribe, view)
            self._hub.feed.subscribe(view, after)
        elif kind == "status":
            put, current = window.statuses(self._queue.put), await window.current()
            self._leave[channel] = _later(self._hub.statuses.unsubscribe, put)
            self._hub.statuses.subscribe(put, current)
        else:
            self._watch(channel)

    def _watch(self, channel: str) -> None:
        relay = self._hub.relay(channel)

        def take(message: str | bytes) -> None:
            self._queue.put_lossy(channel, message)

        async def leave() -> None:
            await self._hub.leave(channel, relay, take)
            self._queue.forget(channel)

        self._leave[channel] = leave
        relay.add(take)

    def _check(self, kind: str, channel: str, camera_id: str) -> None:
        if kind not in PERMISSIONS or bool(camera_id) != (kind in {"live", "preview"}):
            raise InvalidInputError(
                f"unknown channel {channel[:LONGEST_SHOWN]!r}",
                hint="use counts, status, live:<camera> or preview:<camera>",
            )
        if self._principal is None:
            raise UnauthenticatedError("the first message must be the access token", hint=AUTH_HINT)
        require(self._principal, PERMISSIONS[kind], f"subscribe to {channel}")
        if len(self._leave) >= MAX_CHANNELS and channel not in self._leave:
            raise ResourceExhaustedError(
                f"more than {MAX_CHANNELS} channels at once", hint="unsubscribe from channels that you do not show"
            )

    async def _unsubscribe(self, channel: str) -> None:
        leave = self._leave.pop(channel, None)
        if leave is not None:
            await leave()


def _later(call: Callable[[Any], None], argument: Any) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        call(argument)

    return run


def _parse(text: str) -> dict[str, Any]:
    try:
        message = parse_json(text)
    except ValueError as error:
        raise InvalidInputError("the message is not JSON", hint="send one JSON object in each message") from error
    if not isinstance(message, dict):
        raise InvalidInputError("the message is not a JSON object", hint="send one JSON object in each message")
    return message


def _error(error: CountlineError) -> str:
    return json.dumps({"type": "error", "code": error.code, "message": error.message, "hint": error.hint})
