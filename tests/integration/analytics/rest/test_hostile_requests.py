"""Requests that no client of ours sends: refused in the usual shape, by REST and by gRPC, and in time."""

import asyncio
import base64
import gzip
import json
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.fixtures.analytics.cameras import CAMERA, TRUTH, add_camera
from tests.fixtures.analytics.stack import Stack
from yarl import URL

LONGEST_S = 15.0
TOKENS = ("\0", "é" * 100, "=", "[" * 5000, "x" * 60_000)
KEYS = ("[" * 5000, '["\\u0000", ""]', '["\\ud800", ""]', '["0 x", ""]', f'["{"9" * 5000} x", ""]', "1", '{"a": 1}')
DATES = (
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59",
    "2016-12-31T23:59:60Z", "1e400", "NaN", "10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z",
)  # fmt: skip
LISTS = ("sites", "cameras", "users", "workers", "ai-models", "ai-models/x/trials", "analytics/crossings")
SPANS = ("counts", "crossings", "visits", "occupancy", "flows", "trajectories", "verify")
NAMES = ("a" * 800_000, "\U0001f600" * 1000, "\0", "\u202e", "a" * 1024)


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


Request = tuple[str, str, dict[str, Any]]
"""Method, path below /api/v1 as it is sent, and the rest of what aiohttp takes."""


def queries() -> Iterator[Request]:
    """Hostile queries and paths."""
    keys = [base64.urlsafe_b64encode(key.encode()).decode() for key in KEYS]
    for path in LISTS:
        yield from (("GET", path, {"params": {"page_token": token}}) for token in (*TOKENS[:-1], *keys))
    for path in SPANS:
        for date in DATES:
            yield from (("GET", f"analytics/{path}", {"params": {side: date}}) for side in ("start", "end"))
    yield "PATCH", "cameras/cam-1?camera.spec.lines=x", {"json": {"name": "x"}}
    yield "GET", f"cameras/{'x' * 300}", {}
    yield "GET", f"cameras/{'x' * 4000}", {}
    yield "GET", "cameras/%00", {}
    yield "GET", "cameras/%ed%a0%80", {}
    yield "GET", "cameras?page_token=%ed%a0%80", {}
    yield "GET", "analytics/counts?camera_id=%f0%9f%98%80" + "%f0%9f%98%80" * 500, {}
    yield "GET", "cameras", {"headers": {"Authorization": f"Bearer {'x' * 8000}"}}


def bodies() -> Iterator[Request]:
    """Hostile bodies."""
    for data in (b"{", b"[" * 5000, b'{"a":' * 5000, b"\xff\xfe", b"9" * 5000, b'{"username": "\\ud800"}', b"null"):
        yield from (("POST", path, {"data": data}) for path in ("auth/login", "cameras"))
    yield "POST", "cameras", {"data": b'{"\\ud800\\u0000": 1}'}
    for encoding in ("gzip", "deflate", "br", "zstd"):
        yield "POST", "auth/login", {"data": b"this is none", "headers": {"Content-Encoding": encoding}}
    for length in range(-9, 0):
        cut_off = {"data": gzip.compress(b'{"site_id": "cut", "time_zone": "UTC"}')[:length]}
        yield "POST", "sites", {**cut_off, "headers": {"Content-Encoding": "gzip"}}
    for name in NAMES:
        yield "POST", "auth/login", {"json": {"username": name, "password": "wrong"}}
        yield "POST", "auth/login", {"json": {"username": "admin", "password": name}}
        yield "POST", "auth/refresh", {"json": {"refresh_token": name}}
        yield "POST", "users", {"json": {"username": name, "password": "long enough", "roles": [name]}}
        yield "POST", "sites", {"json": {"site_id": "s", "time_zone": name}}
        yield "POST", "cameras", {"json": {**CAMERA, "site_id": name}}
    yield "POST", "sites", {"json": {"site_id": "s", "time_zone": "x" * 5000}}
    yield "POST", "sites", {"json": {"site_id": "s", "time_zone": "x" * 300}}
    for date in DATES:
        yield "POST", "cameras/cam-1/truth", {"json": {**TRUTH, "start": date, "repeats": False}}
        yield "PATCH", "cameras/cam-1", {"json": {"spec": {"recorded_at": date}}}
    for number in (1e308, -1, 5e-324, 10**400):
        yield "POST", "cameras/cam-1/truth", {"json": {**TRUTH, "duration_s": number}}
    for fault in ("[" * 2000, "a.b.c.d", "*", "spec.*", "\ud800"):
        yield "PATCH", "cameras/cam-1", {"data": json.dumps({"update_mask": fault, "spec": {fault: 1}})}


async def test_hostile_requests_are_refused_in_the_usual_shape_and_in_time(stack: Stack) -> None:
    await add_camera(stack)
    faults = []
    for method, path, options in (*queries(), *bodies()):
        url = URL(f"http://{stack.addresses['gateway']}/api/v1/{path}", encoded=not options.get("params"))
        headers = {"Authorization": f"Bearer {stack.token()}", **options.pop("headers", {})}
        began = time.monotonic()
        async with stack.session.request(method, url, headers=headers, **options) as response:
            text = await response.text()
        fine = response.status in {400, 401, 404, 409, 413, 429} if "auth/login" in path else response.status < 429
        if not fine or time.monotonic() - began > LONGEST_S or "success" not in json.loads(text):
            faults.append((method, path[:60], str(options)[:100], response.status, text[:200]))
    assert faults == []
    assert "cut" not in {site["site_id"] for site in (await stack.get("sites"))["sites"]}
    assert [camera["camera_id"] for camera in (await stack.get("cameras"))["cameras"]] == ["cam-1"]


async def test_malformed_messages_are_refused_over_grpc(stack: Stack) -> None:
    metadata = [("authorization", f"Bearer {stack.token()}")]
    for name, method in (("cameras", "CameraService/CreateCamera"), ("auth", "AuthService/Login")):
        async with grpc.aio.insecure_channel(stack.addresses[name]) as channel:
            call = channel.unary_unary(f"/countline.v1.{method}", request_serializer=bytes, response_deserializer=bytes)
            for data in (b"\xff" * 20, b"\x0a\x05\xff\xff", b"\x0a\xff\xff\xff\xff\x0f"):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await asyncio.wait_for(call(data, metadata=metadata), LONGEST_S)
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
