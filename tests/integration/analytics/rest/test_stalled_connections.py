"""Connections that send a part of a request and then nothing."""

import asyncio

import pytest
from tests.fixtures.analytics.stack import Stack

SOCKETS_OF_A_KIND = 10
LOGIN = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
STALLED = {
    "nothing": b"",
    "request line": b"GET /api/v1/cam",
    "headers": LOGIN,
    "body": LOGIN + b'\r\n{"username": ',
    "chunked body": b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    "body of an unknown path": b"POST /api/v1/nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
    "second request": b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\nGET /api",
}


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


@pytest.fixture
def api_settings() -> dict[str, object]:
    """Limits that a test can wait for."""
    return {"gateway_idle_timeout_s": 1.0, "gateway_body_timeout_s": 1.0}


async def closed(address: str, sent: bytes) -> bytes:
    """Send a part of a request, wait until the server closes the connection, and return what it answered."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(sent)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_sockets_that_stall_are_closed_while_others_are_served(stack: Stack) -> None:
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        answers = {
            name: [tasks.create_task(closed(stack.addresses["gateway"], sent)) for _ in range(SOCKETS_OF_A_KIND)]
            for name, sent in STALLED.items()
        }
        assert (await stack.get("cameras"))["cameras"] == []
    for name in ("body", "chunked body"):
        assert all(b" 408 " in task.result() and b"REQUEST_TIMEOUT" in task.result() for task in answers[name])
    assert all(b" 404 " in task.result() for task in answers["body of an unknown path"])
    assert all(task.result() == b"" for name in ("nothing", "request line", "headers") for task in answers[name])
