"""`countline logs` and `countline admin parts|migrations`, as processes, with and without running services."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.analytics.stack import until
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.log import product_log
from tests.fixtures.control.shell import Shell
from tests.fixtures.forked.command import countline
from tests.fixtures.nats import NatsServer

from countline_common.logs import get_logger

SECRET = "s3cret-marker-of-tests"


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    with product_log():
        yield


@pytest.fixture
async def control(control_dsn: str, start_control: Callable, tmp_path: Path, nats_server: NatsServer) -> Any:
    """All services, with NATS and the admin who logs in."""
    password = tmp_path / "first-password"
    password.write_text(PASSWORD + "\n")
    return await start_control(control_dsn, admin_password_file=password, nats_url=nats_server.url)


@pytest.fixture
def shell(control: Any, tmp_path: Path) -> Shell:
    return Shell(control.plane.addresses, tmp_path)


async def test_logs_are_printed_as_text_and_as_json_and_followed(shell: Shell) -> None:
    log = get_logger("countline.tests")
    log.warning("door.lost", camera="door", source=f"rtsp://joe:{SECRET}@camera.invalid/live", reason="no [b]answer")

    async def printed() -> bool:
        return "door.lost" in await shell.ok("logs", "--camera", "door")

    await until(printed, 60.0)
    text = await shell.ok("logs", "--part", "control", "--level", "warning", "--since", "1h", "--text", "DOOR")
    assert "control    warning  door.lost camera=door" in text
    assert 'reason="no [b]answer"' in text
    assert SECRET not in text
    (line,) = (await shell.ok("logs", "--camera", "door", "--json")).splitlines()
    assert json.loads(line)["fields"]["source"] == "rtsp://joe:***@camera.invalid/live"
    assert await shell.ok("logs", "--camera", "door", "--until", "1h") == ""
    following = await asyncio.create_subprocess_exec(
        str(countline()), "logs", "--camera", "door", "--follow",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=shell.environment, cwd=shell.folder,
    )  # fmt: skip
    try:
        assert following.stdout is not None
        async with asyncio.timeout(60):
            assert b"door.lost" in await following.stdout.readline()
            log.info("door.found", camera="door")
            assert b"door.found" in await following.stdout.readline()
    finally:
        following.terminate()
        await following.wait()


async def test_wrong_options_are_errors_with_a_hint(shell: Shell) -> None:
    for words in (["--since", "yesterday"], ["--level", "loud"], ["--files", "--follow"]):
        code, _, err = await shell.run("logs", *words)
        assert (code, err.startswith("error: ")) == (1, True), err


async def test_parts_and_migrations_are_printed(shell: Shell) -> None:
    async def reported() -> bool:
        parts = (await shell.json("admin", "parts"))["parts"]
        return [(part["name"], part["state"], part["problems"]) for part in parts] == [("control", "healthy", {})]

    await until(reported, 60.0)
    assert " healthy" in await shell.ok("admin", "parts")
    text = await shell.ok("admin", "migrations")
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["auth", "cameras", "models", "workers"]
    assert text.count("up to date") == 4


async def test_while_nothing_runs_the_lines_are_those_of_the_files(tmp_path: Path) -> None:
    closed = dict.fromkeys(("auth", "cameras", "workers", "models"), "127.0.0.1:9")
    shell = Shell(closed, tmp_path)
    logs = shell.data / "logs"
    logs.mkdir()
    line = {"timestamp": "2026-03-01T12:00:01.5Z", "level": "error", "event": "died", "camera": "door"}
    (logs / "worker.log.1").write_text(json.dumps({**line, "event": "earlier", "level": "info"}) + "\n")
    (logs / "worker.log").write_text(json.dumps(line) + "\nTraceback of an interpreter\n")
    (logs / "postgres.log").write_text(f"2026-03-01 12:00:00.123 UTC [7] FATAL:  postgres://joe:{SECRET}@host/db\n")
    code, out, err = await shell.run("logs")
    assert code == 0, err
    assert "does not answer" in err
    assert str(logs) in err.replace("\n", "")
    assert [each.split()[4] for each in out.splitlines()] == ["2026-03-01", "earlier", "died", "Traceback"]
    assert SECRET not in out
    assert "camera=door" in out
    code, out, _ = await shell.run("logs", "--files", "--level", "error", "--json", "--since", "2026-03-01T00:00:00Z")
    assert [json.loads(each)["part"] for each in out.splitlines()] == ["postgres", "worker"]
    code, _, err = await shell.run("logs", "--server", shell.server)
    assert code == 1, "a server elsewhere has its files elsewhere"
    (shell.data / "run" / "endpoints.json").unlink()
    code, out, err = await shell.run("logs", "-n", "1")
    assert (code, "no Countline runs" in err, "Traceback" in out) == (0, True, True)
    code, _, err = await shell.run("logs", "--follow")
    assert code == 1
