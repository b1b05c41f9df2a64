"""A gateway that speaks the dashboard's contract and breaks on demand.

It stands in only for faults that a real gateway cannot be made to have at will: a row that gets lost on the way, totals
that do not follow, a refused login, a socket that is cut a hundred times. What the page does with a real system is
tested against `countline up` (test_real_system.py).

As a script it serves the built page for looking at it while it is being worked on:

    python tests/e2e/dashboard/fake_gateway.py --port 8090      # admin / countline-demo
"""

import argparse
import asyncio
import hashlib
import io
import json
import math
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import WSMsgType, web
from PIL import Image, ImageDraw

STATIC = Path(__file__).resolve().parents[3] / "analytics" / "countline_analytics" / "static"
ZONE = "Europe/Berlin"
PASSWORD = "countline-demo"
SIZE = (640, 360)
ROWS_KEPT = 500
BUCKET_S = {"1m": 60, "15m": 900, "1h": 3600}
Json = dict[str, Any]


def rfc3339(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def noise(*key: object) -> float:
    """A number in 0..1 that depends on nothing but the key."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "big") / 2**32


@dataclass(frozen=True)
class Mover:
    """One object that walks from one side to the other, once in a period; places are normalised."""

    track: int
    class_name: str
    start: tuple[float, float]
    end: tuple[float, float]
    at_s: float
    takes_s: float
    height: float

    def place(self, phase_s: float, period_s: float) -> tuple[float, float] | None:
        share = ((phase_s - self.at_s) % period_s) / self.takes_s
        if share > 1:
            return None
        return tuple(a + (b - a) * share for a, b in zip(self.start, self.end, strict=True))  # type: ignore[return-value]


@dataclass(frozen=True)
class Scene:
    """A camera's view: one line, movers that cross it in a known direction at known times."""

    camera_id: str
    title: str
    line_id: str
    points: tuple[tuple[float, float], ...]
    movers: tuple[Mover, ...]
    period_s: float
    busy: float
    zone: tuple[tuple[float, float], ...] = ()
    hue: int = 0

    def crossings(self, mover: Mover) -> tuple[float, str] | None:
        """Phase and direction of the mover's crossing of the first segment; None where it does not cross."""
        (ax, ay), (bx, by) = self.points[0], self.points[-1]
        (px, py), (qx, qy) = mover.start, mover.end

        def side(x: float, y: float) -> float:
            return (bx - ax) * (y - ay) - (by - ay) * (x - ax)

        before, after = side(px, py), side(qx, qy)
        if before * after >= 0:
            return None
        share = before / (before - after)
        phase = (mover.at_s + share * mover.takes_s) % self.period_s
        return phase, "in" if after > 0 else "out"


def walker(
    track: int, y: float, at_s: float, *, leftwards: bool = False, kind: str = "person", height: float = 0.3
) -> Mover:
    start, end = ((1.08, y), (-0.08, y + 0.04)) if leftwards else ((-0.08, y), (1.08, y + 0.04))
    return Mover(track, kind, start, end, at_s, 6.0 if kind == "person" else 3.0, height)


SCENES = (
    Scene(
        "entrance",
        "Main entrance",
        "door",
        ((0.52, 0.95), (0.46, 0.25)),
        (walker(11, 0.86, 0.0), walker(12, 0.74, 2.4, leftwards=True), walker(13, 0.92, 5.1), walker(14, 0.66, 7.7)),
        10.0,
        1.0,
        zone=((0.62, 0.45), (0.95, 0.5), (0.97, 0.95), (0.6, 0.9)),
        hue=0,
    ),
    Scene(
        "ramp",
        "Car park ramp",
        "barrier",
        ((0.35, 0.3), (0.62, 0.98)),
        (
            walker(3, 0.82, 1.0, kind="vehicle", height=0.26),
            walker(4, 0.6, 6.0, leftwards=True, kind="vehicle", height=0.2),
            walker(5, 0.93, 10.5, kind="vehicle", height=0.28),
        ),
        14.0,
        0.6,
        hue=1,
    ),
    Scene(
        "square",
        "Market square",
        "north-south",
        ((0.08, 0.62), (0.45, 0.55), (0.93, 0.66)),
        tuple(
            Mover(21 + i, "person", (x, 0.35), (x + 0.1, 1.12), i * 1.7, 5.0, 0.2)
            if i % 2
            else Mover(21 + i, "person", (x, 1.12), (x - 0.05, 0.35), i * 1.7, 5.5, 0.2)
            for i, x in enumerate((0.2, 0.35, 0.5, 0.65, 0.78))
        ),
        9.0,
        1.6,
        hue=2,
    ),
    Scene(
        "dock",
        "Loading dock",
        "gate",
        ((0.7, 0.2), (0.3, 0.95)),
        (walker(31, 0.8, 0.5, leftwards=True), walker(32, 0.9, 3.5, kind="vehicle", height=0.3), walker(33, 0.7, 9.0)),
        12.0,
        0.4,
        hue=3,
    ),
)


def draw(scene: Scene, t: float) -> tuple[bytes, list[Json]]:
    """The picture at a moment as JPEG, and its boxes in pixels."""
    width, height = SIZE
    image = Image.new("RGB", SIZE)
    pen = ImageDraw.Draw(image)
    sky, floor = [
        ((96, 112, 128), (128, 126, 122)),
        ((60, 66, 74), (88, 90, 94)),
        ((150, 170, 190), (176, 168, 150)),
        ((84, 78, 72), (120, 112, 100)),
    ][scene.hue % 4]
    horizon = int(height * 0.38)
    pen.rectangle((0, 0, width, horizon), fill=sky)
    pen.rectangle((0, horizon, width, height), fill=floor)
    for i in range(-6, 20):
        pen.line((width * i / 12, height, width / 2 + (i - 6) * 12, horizon), fill=tuple(c - 10 for c in floor))
    for i, x in enumerate((0.02, 0.22, 0.55, 0.8)):
        shade = tuple(int(c * (0.75 + 0.08 * i)) for c in sky)
        pen.rectangle((width * x, horizon - 40 - 22 * (i % 3), width * (x + 0.17), horizon), fill=shade)
    boxes = []
    for mover in scene.movers:
        place = mover.place(t % scene.period_s, scene.period_s)
        if place is None:
            continue
        tall = mover.height * height
        wide = tall * (0.4 if mover.class_name == "person" else 1.9)
        x, y = place[0] * width, place[1] * height
        x1, y1, x2, y2 = x - wide / 2, y - tall, x + wide / 2, y
        colour = tuple(int(60 + 150 * noise(mover.track, c)) for c in "rgb")
        pen.ellipse((x1, y2 - tall * 0.06, x2 + tall * 0.1, y2 + tall * 0.06), fill=tuple(int(c * 0.7) for c in floor))
        if mover.class_name == "person":
            swing = math.sin(t * 7 + mover.track) * wide * 0.3
            pen.line((x, y1 + tall * 0.55, x - swing, y2), fill=(40, 44, 60), width=int(wide * 0.22))
            pen.line((x, y1 + tall * 0.55, x + swing, y2), fill=(34, 38, 52), width=int(wide * 0.22))
            pen.rounded_rectangle(
                (x - wide * 0.3, y1 + tall * 0.18, x + wide * 0.3, y1 + tall * 0.62), wide * 0.2, fill=colour
            )
            pen.ellipse((x - wide * 0.19, y1, x + wide * 0.19, y1 + tall * 0.17), fill=(214, 178, 150))
        else:
            pen.rounded_rectangle((x1, y1 + tall * 0.35, x2, y2 - tall * 0.12), tall * 0.14, fill=colour)
            pen.rounded_rectangle(
                (x1 + wide * 0.2, y1, x2 - wide * 0.22, y1 + tall * 0.5),
                tall * 0.14,
                fill=tuple(int(c * 0.8) for c in colour),
            )
            for wheel in (0.22, 0.78):
                cx = x1 + wide * wheel
                pen.ellipse((cx - tall * 0.16, y2 - tall * 0.3, cx + tall * 0.16, y2), fill=(24, 24, 28))
        boxes.append({"track": mover.track, "box": [x1, y1, x2, y2], "score": 0.91, "class": mover.class_name})
    data = io.BytesIO()
    image.save(data, "JPEG", quality=82)
    return data.getvalue(), boxes


@dataclass(eq=False)
class Client:
    socket: web.WebSocketResponse
    channels: set[str] = field(default_factory=set)
    """Rows of this client's stream that are to get lost on the way."""
    lose: int = 0


class FakeGateway:
    """State, routes and switches. Everything a test changes is a plain attribute or method below."""

    def __init__(
        self, scenes: tuple[Scene, ...] = SCENES, *, covered_since: Callable[[float], float] | None = None
    ) -> None:
        self.scenes = scenes
        self.started = time.time()
        self.coverage_at = covered_since or (lambda _minute_start: 1.0)
        self.broken: dict[str, int] = {}
        """Beginning of a path below /api/v1/ -> status that is answered instead."""
        self.token_life_s = 900.0
        self.statuses: dict[str, Json] = {}
        self.missed: dict[tuple[str, str], int] = {}
        self.has_truth = True
        self.rows: list[Json] = []
        self.sequence = 1000
        self.clients: set[Client] = set()
        self.previews: dict[str, int] = {}
        self.calls: list[str] = []
        self.subscriptions: list[Json] = []
        self.refuse_sockets = False
        self.totals: dict[tuple[str, str], dict[str, int]] = {}
        self.access_tokens: set[str] = set()
        self.refresh_tokens: set[str] = set()
        self._made = 0
        for scene in scenes:
            self.totals[scene.camera_id, scene.line_id] = self._history_today(scene)
            self.statuses[scene.camera_id] = self.running()

    # What tests do to it.

    def running(self) -> Json:
        """A status as of a camera that is well."""
        return {
            "state": "running",
            "worker_id": "worker-1",
            "epoch": 1,
            "width": SIZE[0],
            "height": SIZE[1],
            "source_fps": 25.0,
            "processed_fps": 25.0,
            "latency_s": 0.084,
            "frames_processed": 12000,
            "frames_dropped": 0,
            "error": None,
            "reported_at": rfc3339(time.time()),
        }

    async def cut(self) -> None:
        """Breaks every socket, as a proxy that is restarted does."""
        for client in list(self.clients):
            if client.socket._writer is not None:
                client.socket._writer.transport.abort()

    def lose_row(self) -> None:
        """The next row does not reach the clients that are there."""
        for client in self.clients:
            client.lose += 1

    def forget_rows(self) -> None:
        """Resuming is not possible any more."""
        self.rows.clear()

    async def set_status(self, camera_id: str, **changes: Any) -> None:
        self.statuses[camera_id] = {**self.statuses[camera_id], **changes, "reported_at": rfc3339(time.time())}
        await self._send("status", {"type": "status", "camera_id": camera_id, "status": self.statuses[camera_id]})

    async def cross(
        self, camera_id: str, line_id: str, direction: str, *, t: float | None = None, lie: int = 0
    ) -> Json:
        """Inserts a row and tells the clients. `lie` is added to the total that they hear of."""
        totals = self.totals[camera_id, line_id]
        totals[direction] += 1
        self.sequence += 1
        now = time.time()
        row = {
            "type": "crossing",
            "channel": "counts",
            "sequence": self.sequence,
            "crossing_id": hashlib.sha256(f"{self.sequence}".encode()).hexdigest()[:32],
            "camera_id": camera_id,
            "line_id": line_id,
            "direction": direction,
            "class": "person",
            "t": now - 0.4 if t is None else t,
            "decided_at": now - 0.1,
            "in": totals["in"],
            "out": totals["out"],
        }
        self.rows = [*self.rows[-ROWS_KEPT + 1 :], row]
        sent = {**row, direction: row[direction] + lie} if lie else row
        for client in list(self.clients):
            if "counts" not in client.channels:
                continue
            if client.lose:
                client.lose -= 1
            else:
                await self._to(client, sent)
        return row

    async def play(self) -> None:
        """Lets the scenes cross their lines in real time, until cancelled."""
        before = time.time()
        while True:
            await asyncio.sleep(0.1)
            now = time.time()
            for scene in self.scenes:
                if self.statuses[scene.camera_id]["state"] != "running":
                    continue
                for mover in scene.movers:
                    crossing = scene.crossings(mover)
                    if crossing and (before - crossing[0]) // scene.period_s != (now - crossing[0]) // scene.period_s:
                        await self.cross(scene.camera_id, scene.line_id, crossing[1])
                self.statuses[scene.camera_id]["reported_at"] = rfc3339(now)
            before = now

    # How it answers.

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_post("/api/v1/auth/login", self._login)
        app.router.add_post("/api/v1/auth/refresh", self._refresh)
        app.router.add_post("/api/v1/auth/logout", self._logout)
        app.router.add_get("/api/v1/sites", self._sites)
        app.router.add_get("/api/v1/cameras", self._cameras)
        app.router.add_get("/api/v1/analytics/counts", self._counts)
        app.router.add_get("/api/v1/analytics/verify", self._verify)
        app.router.add_get("/ws", self._socket)
        app.router.add_get("/", self._page)
        app.router.add_static("/", STATIC)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        path = request.path.removeprefix("/api/v1/")
        if path == request.path:
            return await handler(request)
        self.calls.append(path)
        for beginning, status in self.broken.items():
            if path.startswith(beginning):
                return self._error(status, "unavailable", "The database does not answer.")
        public = path.startswith("auth/")
        if not public and request.headers.get("authorization", "").removeprefix("Bearer ") not in self.access_tokens:
            return self._error(401, "unauthenticated", "The token is not valid.")
        return await handler(request)

    def _error(self, status: int, code: str, message: str) -> web.Response:
        body = {"success": False, "request_id": "req-7f3a", "errors": [{"code": code, "field": "", "message": message}]}
        return web.json_response(body, status=status)

    def _data(self, data: Json) -> web.Response:
        return web.json_response({"success": True, "data": data})

    async def _page(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def _login(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("username") != "admin" or body.get("password") != PASSWORD:
            return self._error(401, "unauthenticated", "The user name or the password is wrong.")
        return self._data(
            {"tokens": self._tokens(), "user": {"user_id": "u1", "username": "admin", "roles": ["admin"]}}
        )

    async def _refresh(self, request: web.Request) -> web.Response:
        token = (await request.json()).get("refresh_token")
        if token not in self.refresh_tokens:
            return self._error(401, "unauthenticated", "The session has ended.")
        self.refresh_tokens.discard(token)
        return self._data({"tokens": self._tokens()})

    async def _logout(self, request: web.Request) -> web.Response:
        self.refresh_tokens.discard((await request.json()).get("refresh_token"))
        return self._data({})

    def _tokens(self) -> Json:
        self._made += 1
        access, refresh = f"access-{self._made}", f"refresh-{self._made}"
        self.access_tokens.add(access)
        self.refresh_tokens.add(refresh)
        now = time.time()
        return {
            "access_token": access,
            "refresh_token": refresh,
            "access_expires_at": rfc3339(now + self.token_life_s),
            "refresh_expires_at": rfc3339(now + 86400),
        }

    async def _sites(self, _request: web.Request) -> web.Response:
        return self._data(
            {"sites": [{"site_id": "demo", "title": "Demo site", "time_zone": ZONE}], "next_page_token": ""}
        )

    async def _cameras(self, _request: web.Request) -> web.Response:
        return self._data({"cameras": [self._camera(scene) for scene in self.scenes], "next_page_token": ""})

    def _camera(self, scene: Scene) -> Json:
        def points(corners: tuple[tuple[float, float], ...]) -> list[Json]:
            return [{"x": x, "y": y} for x, y in corners]

        lines = (
            [{"line_id": scene.line_id, "points": points(scene.points), "version": 1, "classes": []}]
            if scene.line_id
            else []
        )
        zones = (
            [{"zone_id": "waiting", "polygon": points(scene.zone), "version": 1, "classes": []}] if scene.zone else []
        )
        return {
            "camera_id": scene.camera_id,
            "site_id": "demo",
            "title": scene.title,
            "spec": {"source_url": "file:///clip.mp4", "lines": lines, "zones": zones, "disabled": False},
            "status": self.statuses[scene.camera_id],
            "revision": 1,
        }

    # Counts: a made-up past, and the rows of this run.

    def _minute(self, scene: Scene, start: float) -> tuple[int, int]:
        if start + 60 > self.started:
            rows = [r for r in self.rows if r["camera_id"] == scene.camera_id and start <= r["t"] < start + 60]
            return sum(r["direction"] == "in" for r in rows), sum(r["direction"] == "out" for r in rows)
        hour = datetime.fromtimestamp(start, ZoneInfo(ZONE)).hour
        curve = max(0.05, math.sin((hour - 5) / 19 * math.pi)) * scene.busy
        return tuple(int(curve * 7 * noise(scene.camera_id, start, way) + 0.5) for way in "io")  # type: ignore[return-value]

    def _midnight(self, now: float) -> float:
        local = datetime.fromtimestamp(now, ZoneInfo(ZONE))
        return local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()

    def _history_today(self, scene: Scene) -> dict[str, int]:
        sums = {"in": 0, "out": 0}
        for start in range(int(self._midnight(self.started)), int(self.started), 60):
            if self.coverage_at(start) > 0:
                came, went = self._minute(scene, start)
                sums["in"] += came
                sums["out"] += went
        return sums

    def _starts(self, start: float, end: float, bucket: str) -> list[float]:
        if bucket in BUCKET_S:
            step = BUCKET_S[bucket]
            return [float(s) for s in range(int(start // step) * step, math.ceil(end), step)]
        day = datetime.fromtimestamp(self._midnight(start), ZoneInfo(ZONE))
        found = []
        while day.timestamp() < end:
            found.append(day.timestamp())
            day = (day + timedelta(days=1)).replace(hour=0)
        return found

    async def _counts(self, request: web.Request) -> web.Response:
        now = time.time()
        query = request.query
        start = datetime.fromisoformat(query["start"]).timestamp()
        end = datetime.fromisoformat(query["end"]).timestamp() if "end" in query else now
        bucket = query.get("bucket", "1h")
        starts = self._starts(start, end, bucket)
        ends = [*starts[1:], starts[-1] + BUCKET_S.get(bucket, 86400)]
        scenes = [s for s in self.scenes if query.get("camera_id", s.camera_id) == s.camera_id]
        buckets = [self._bucket(s, a, b, now) for s in scenes for a, b in zip(starts, ends, strict=True)]
        return self._data({"buckets": buckets, "bucket": bucket, "time_zone": ZONE})

    def _bucket(self, scene: Scene, start: float, end: float, now: float) -> Json:
        minutes = range(int(start), math.ceil(min(end, now)), 60)
        seen = [self.coverage_at(minute) for minute in minutes]
        counts = [
            self._minute(scene, minute) if share > 0 else (0, 0) for minute, share in zip(minutes, seen, strict=True)
        ]
        state = "provisional" if end > now - 10 else "final"
        return {
            "start": rfc3339(start),
            "end": rfc3339(end),
            "camera_id": scene.camera_id,
            "line_id": scene.line_id,
            "class_name": "",
            "direction": "",
            "in": sum(c[0] for c in counts),
            "out": sum(c[1] for c in counts),
            "coverage": sum(seen) / len(seen) if seen else 0.0,
            "state": state,
        }

    async def _verify(self, _request: web.Request) -> web.Response:
        cameras = []
        for scene in self.scenes if self.has_truth else ():
            came = went = 0
            for row in self.rows:
                if row["camera_id"] == scene.camera_id:
                    came, went = came + (row["direction"] == "in"), went + (row["direction"] == "out")
            cameras.append(
                {
                    "camera_id": scene.camera_id,
                    "verified_s": time.time() - self.started,
                    "lines": [
                        {
                            "line_id": scene.line_id,
                            "in": self._verdict(scene, "in", came),
                            "out": self._verdict(scene, "out", went),
                        }
                    ],
                }
            )
        return self._data({"cameras": cameras, "end": rfc3339(time.time() - 3)})

    def _verdict(self, scene: Scene, direction: str, counted: int) -> Json:
        missed = self.missed.get((scene.camera_id, direction), 0)
        return {"counted": counted, "true": counted + missed, "missed": missed, "false": 0}

    # The socket.

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_sockets:
            return self._error(503, "unavailable", "Not now.")
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        client = Client(socket)
        pictures = None
        try:
            hello = await socket.receive_json(timeout=10)
            if hello.get("token") not in self.access_tokens:
                await socket.send_json(
                    {"type": "error", "code": "unauthenticated", "message": "The token is not valid."}
                )
                return socket
            await socket.send_json({"type": "ready"})
            self.clients.add(client)
            pictures = asyncio.create_task(self._pictures(client))
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._heard(client, json.loads(message.data))
        finally:
            self.clients.discard(client)
            if pictures:
                pictures.cancel()
        return socket

    async def _heard(self, client: Client, message: Json) -> None:
        kind, channel = message.get("type"), message.get("channel", "")
        if kind == "subscribe":
            self.subscriptions.append(message)
            client.channels.add(channel)
            if channel == "counts":
                await self._catch_up(client, message.get("after"))
        elif kind == "unsubscribe":
            client.channels.discard(channel)
        elif kind == "ping":
            await self._to(client, {"type": "pong"})
        else:
            await self._to(client, {"type": "error", "code": "invalid", "message": f"no message is called {kind!r}"})

    async def _catch_up(self, client: Client, after: int | None) -> None:
        oldest = self.rows[0]["sequence"] if self.rows else self.sequence + 1
        if after is not None and oldest - 1 <= after <= self.sequence:
            for row in self.rows:
                if row["sequence"] > after:
                    await self._to(client, row)
            return
        cameras: dict[str, Json] = {}
        for (camera, line), totals in self.totals.items():
            cameras.setdefault(camera, {})[line] = dict(totals)
        today = datetime.fromtimestamp(time.time(), ZoneInfo(ZONE)).date().isoformat()
        snapshot = {"type": "snapshot", "channel": "counts", "sequence": self.sequence, "cameras": cameras}
        await self._to(client, {**snapshot, "day": dict.fromkeys(cameras, today)})

    async def _pictures(self, client: Client) -> None:
        while True:
            await asyncio.sleep(0.1)
            for scene in self.scenes:
                if (
                    f"preview:{scene.camera_id}" in client.channels
                    and self.statuses[scene.camera_id]["state"] == "running"
                ):
                    t = time.time()
                    jpeg, boxes = draw(scene, t)
                    header = {
                        "type": "preview",
                        "camera_id": scene.camera_id,
                        "t": t,
                        "size": SIZE,
                        "source_size": SIZE,
                        "boxes": boxes,
                    }
                    head = json.dumps(header).encode()
                    self.previews[scene.camera_id] = self.previews.get(scene.camera_id, 0) + 1
                    await client.socket.send_bytes(struct.pack(">I", len(head)) + head + jpeg)

    async def _send(self, channel: str, message: Json) -> None:
        for client in list(self.clients):
            if channel in client.channels:
                await self._to(client, message)

    async def _to(self, client: Client, message: Json) -> None:
        try:
            await client.socket.send_json(message)
        except ConnectionError:
            # Cut in the middle of sending: the client resumes.
            self.clients.discard(client)


async def serve(port: int, *, outage: bool) -> None:
    def coverage(minute: float) -> float:
        ago_min = (time.time() - minute) / 60
        if not outage:
            return 1.0
        return 0.0 if 22 < ago_min < 31 or ago_min > 20 * 60 else 0.45 if 31 <= ago_min < 33 else 1.0

    gateway = FakeGateway(covered_since=coverage)
    runner = web.AppRunner(gateway.app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"http://127.0.0.1:{port}/ (admin / {PASSWORD})", flush=True)
    try:
        await gateway.play()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--no-outage", action="store_true", help="everything was covered all the time")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, outage=not arguments.no_outage))
