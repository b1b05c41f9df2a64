"""`countline check`, as a process, against running services and without them."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.analytics.stack import until
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.shell import Shell
from tests.fixtures.nats import NatsServer

from countline_common.data.bus import connect, counts_subject, dlq_subject, ensure_streams

OK, WARNING, CRITICAL, UNKNOWN = range(4)


@pytest.fixture
async def jetstream(nats_server: NatsServer) -> Any:
    client = await connect(nats_server.url, name="test")
    await ensure_streams(client.jetstream())
    yield client.jetstream()
    await client.close()


@pytest.fixture
async def shell(control_dsn: str, start_control: Callable, tmp_path: Path, nats_server: NatsServer) -> Shell:
    """A shell beside all services, with NATS."""
    (tmp_path / "first-password").write_text(PASSWORD + "\n")
    control = await start_control(
        control_dsn, admin_password_file=tmp_path / "first-password", nats_url=nats_server.url
    )
    return Shell(control.plane.addresses, tmp_path)


async def check(shell: Shell, *words: str) -> tuple[int, str]:
    """Exit code and line of a check; it prints nothing else."""
    code, out, err = await shell.run("check", *words)
    assert err == ""
    assert out.count("\n") == 1, out
    return code, out.strip()


async def test_cameras_are_checked_as_they_are_wanted(shell: Shell) -> None:
    await shell.ok("sites", "add", "lab", "--time-zone", "UTC")
    code, line = await check(shell, "cameras")
    assert (code, line.startswith("CAMERAS OK - no camera is active (0 in all) | active=0")) == (OK, True), line
    await shell.ok("cameras", "add", "door", "rtsp://camera.invalid/live")
    code, line = await check(shell, "cameras")
    assert (code, "0 of 1 active cameras run: door waiting" in line) == (CRITICAL, True), line
    assert (await check(shell, "cameras", "--critical", "2", "--warning", "2"))[0] == OK
    assert (await check(shell, "cameras", "--critical", "2"))[0] == WARNING
    assert (await check(shell, "cameras", "--site", "nowhere"))[0] == UNKNOWN
    code, line = await check(shell, "camera", "door")
    assert (code, line.startswith("CAMERA CRITICAL - door waiting: ")) == (CRITICAL, True), line
    await shell.ok("cameras", "pause", "door")
    assert await check(shell, "camera", "door") == (OK, "CAMERA OK - door is paused, so nothing counts it")
    assert (await check(shell, "cameras"))[0] == OK
    code, line = await check(shell, "camera", "ghost")
    assert (code, "ghost" in line) == (UNKNOWN, True)
    code, line = await check(shell, "workers")
    assert (code, line.startswith("WORKERS CRITICAL - 0 of 0 workers online")) == (CRITICAL, True), line
    assert (await check(shell, "workers", "--least", "0"))[0] == OK


async def test_ingest_and_dead_letters_are_checked_by_a_viewer(shell: Shell, jetstream: Any) -> None:
    """The key of a monitoring system needs no more than the role viewer."""
    key = (await shell.json("keys", "create", "nagios", "--role", "viewer"))["key"]
    shell.environment = {**shell.environment, "COUNTLINE_API_KEY": key}
    assert (await check(shell, "dlq"))[0] == OK
    code, line = await check(shell, "ingest")
    assert (code, "ingest has never read" in line) == (CRITICAL, True), line

    reader = await jetstream.pull_subscribe("countline.counts.>", durable="ingest", stream="COUNTS")
    code, line = await check(shell, "ingest")
    assert (code, "no ingest reads: 0 records wait" in line) == (CRITICAL, True), line
    await jetstream.publish(counts_subject("lab", "door"), b"x")
    fetching = asyncio.create_task(reader.fetch(1, timeout=30))
    (message,) = await fetching
    code, line = await check(shell, "ingest")
    assert (code, "1 records wait, the oldest for " in line) == (OK, True), line
    assert (await check(shell, "ingest", "--warning", "0", "--critical", "3600"))[0] == WARNING
    assert (await check(shell, "ingest", "--warning", "0", "--critical", "0"))[0] == CRITICAL
    found = await shell.json("check", "ingest", "--critical", "3600")
    waited = {each["label"]: each["value"] for each in found["values"]}
    assert (waited["waiting"], 0 < waited["lag"] < 60) == (1, True)
    await message.ack()
    fetching = asyncio.create_task(reader.fetch(1, timeout=60))  # an open request, as ingest has one
    try:
        await until(lambda: _is_ok(shell), 30)
    finally:
        fetching.cancel()

    await jetstream.publish(dlq_subject("COUNTS"), b"x")
    code, line = await check(shell, "dlq")
    assert (code, line.startswith("DLQ WARNING - 1 dead letters, the newest of 2")) == (WARNING, True), line
    assert (await check(shell, "dlq", "--critical", "1"))[0] == CRITICAL


async def _is_ok(shell: Shell) -> bool:
    return (await check(shell, "ingest"))[0] == OK


async def test_services_are_checked_without_a_login(shell: Shell) -> None:
    (shell.data / "credentials" / "admin-password").unlink()
    asked = ("server", "--no-gateway", "--warning", "50", "--critical", "60")

    async def all_serve() -> bool:  # just after the start, workers is still loading its assignments
        code, line = await check(shell, *asked)
        return (code, line.startswith("SERVER OK - 4 of 4 services answer | auth=")) == (OK, True)

    await until(all_serve, 30)
    code, line = await check(shell, "server", "--warning", "50", "--critical", "60")
    assert (code, "4 of 5 services answer: gateway: http://127.0.0.1:9 does not answer" in line) == (CRITICAL, True)
    code, line = await check(shell, "cameras")
    assert (code, line.startswith("CAMERAS UNKNOWN - cannot read the admin password")) == (UNKNOWN, True), line


async def test_a_check_that_is_called_wrongly_is_unknown(shell: Shell) -> None:
    for words in (
        ["cameras", "--nonsense"],
        ["cameras", "--critical", "many"],
        ["camera"],
        ["kameras"],
        ["dlq", "--warning", "0"],
        ["dlq", "--warning", "9", "--critical", "3"],
        ["server", "--timeout", "soon"],
    ):
        code, line = await check(shell, *words)
        assert (code, " UNKNOWN - " in line) == (UNKNOWN, True), (words, line)


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_a_server_that_is_away_or_silent_is_critical_in_time(tmp_path: Path) -> None:
    shell = Shell(dict.fromkeys(("auth", "cameras", "workers", "models"), "127.0.0.1:9"), tmp_path)
    for words in (["cameras"], ["camera", "door"], ["workers"], ["ingest"], ["dlq"], ["server"]):
        code, line = await check(shell, *words)
        assert (code, " CRITICAL - " in line) == (CRITICAL, True), (words, line)
    with silent_server() as port:
        names = ("auth", "cameras", "workers", "models")
        addresses = {**dict.fromkeys(names, f"127.0.0.1:{port}"), "gateway": f"http://127.0.0.1:{port}"}
        (shell.data / "run" / "endpoints.json").write_text(json.dumps(addresses))
        began = time.monotonic()
        for words in (["cameras"], ["server"]):
            code, line = await check(shell, *words, "--timeout", "1")
            assert (code, " CRITICAL - " in line) == (CRITICAL, True), (words, line)
        assert time.monotonic() - began < 20
    (shell.data / "run" / "endpoints.json").unlink()
    code, line = await check(shell, "cameras")
    assert (code, "no Countline runs from this data folder" in line) == (CRITICAL, True), line
    code, out, _ = await shell.run("check", "cameras", "--json")
    assert (code, json.loads(out)["status"], json.loads(out)["exit_code"]) == (CRITICAL, "CRITICAL", 2)
