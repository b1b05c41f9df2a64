"""Connections that send a part of a request and then nothing, and clients that read no answer."""

import asyncio
import socket
import time

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


PAGE = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
READS = {"nothing": 0, "a byte in a while": 1}


def cut_off(address: str, bytes_at_once: int) -> bool:
    """Ask for more than the kernel keeps, read hardly anything, and return whether the server cuts the connection."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.settimeout(0.2)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                client.send(PAGE * 100)
                time.sleep(0.2)
                if bytes_at_once:
                    client.recv(bytes_at_once)
            except TimeoutError:  # the server waits for this client
                continue
            except ConnectionError:
                return True
    return False


@pytest.mark.parametrize("reads", READS)
async def test_clients_that_do_not_read_are_cut_off_while_others_are_served(stack: Stack, reads: str) -> None:
    """Their connections stayed for ever, each with its handler: a thousand of them were all that the gateway has."""
    address = stack.addresses["gateway"]
    async with asyncio.TaskGroup() as tasks:
        ends = [tasks.create_task(asyncio.to_thread(cut_off, address, READS[reads])) for _ in range(SOCKETS_OF_A_KIND)]
        assert (await stack.get("cameras"))["cameras"] == []
    assert all(end.result() for end in ends)
