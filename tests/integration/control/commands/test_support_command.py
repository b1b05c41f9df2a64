"""`countline support gather`, as a process, against running services and without them."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.fixtures.analytics.stack import until
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.shell import Shell
from tests.fixtures.nats import NatsServer

from countline_common.access.api_keys import new_key

CAMERA, MASTER, DSN, CLIENT = (
    "p@ss/w:ord-of-camera",
    "bWFzdGVyLWtleS1pbi1iYXNlNjQtMTIzNDU2Nzg5MDE=",
    "dsn-secret",
    "oidc-secret",
)


@pytest.fixture
async def shell(control_dsn: str, start_control: Callable, tmp_path: Path, nats_server: NatsServer) -> Shell:
    (tmp_path / "first-password").write_text(PASSWORD + "\n")
    control = await start_control(
        control_dsn, admin_password_file=tmp_path / "first-password", nats_url=nats_server.url
    )
    return Shell(control.plane.addresses, tmp_path)


def unpacked(path: Path) -> dict[str, str]:
    """The files of an archive by their names below its folder."""
    with tarfile.open(path) as archive:
        return {
            each.name.partition("/")[2]: archive.extractfile(each).read().decode()  # type: ignore[union-attr]
            for each in archive.getmembers()
        }


async def test_planted_secrets_are_nowhere_in_the_archive(shell: Shell) -> None:
    await shell.ok("sites", "add", "lab", "--time-zone", "UTC")
    await shell.ok("cameras", "add", "door", f"rtsp://joe:{quote(CAMERA, safe='')}@camera.invalid/live")
    key = (await shell.json("keys", "create", "wall", "--role", "viewer"))["key"]
    login = json.loads((shell.data / "run" / "cli-login.json").read_text())
    tokens = [login["access_token"], login["refresh_token"]]
    (shell.data / "credentials" / "master-key").write_text(MASTER + "\n")
    (shell.data / "logs").mkdir()
    spread = "\n".join([PASSWORD, MASTER, key, *tokens, f"postgresql://countline:{DSN}@db/auth", f"a {CAMERA} b"])
    (shell.data / "logs" / "control.log").write_text(f"the first line\n{spread}\n")
    (shell.folder / "api-key").write_text(new_key())
    environment = {
        **shell.environment,
        "COUNTLINE_OIDC_CLIENT_SECRET": CLIENT,
        "COUNTLINE_AUTH_DSN": f"postgresql://countline:{DSN}@db/auth",
        "COUNTLINE_TEST_PASSWORD": CAMERA,
    }

    async def reported() -> bool:
        return bool((await shell.json("admin", "parts"))["parts"])

    await until(reported, 60)
    said = await shell.ok("support", "gather", "--no-doctor", "--output", "out.tar.gz", environment=environment)
    assert said.startswith("out.tar.gz\n")
    archive = shell.folder / "out.tar.gz"
    assert archive.stat().st_mode & 0o777 == 0o600
    files = unpacked(archive)
    secrets = [PASSWORD, CAMERA, quote(CAMERA, safe=""), MASTER, DSN, CLIENT, key, key[16:], *tokens]
    assert [(name, secret) for name, text in files.items() for secret in secrets if secret in text] == []

    assert json.loads(files["manifest.json"])["not_gathered"] == {}
    assert {
        "manifest.json", "versions.json", "configuration.json", "health/services.json", "health/parts.json",
        "health/migrations.json", "health/streams.json", "settings.json", "sites.json", "cameras.json",
        "workers.json", "logs/recent.json", "logs/control.log",
    } == set(files)  # fmt: skip
    assert json.loads(files["cameras.json"])[0]["stream_url"] == "rtsp://joe:***@camera.invalid/live"
    assert [part["name"] for part in json.loads(files["health/parts.json"])["parts"]] == ["control"]
    assert json.loads(files["configuration.json"])["environment"]["COUNTLINE_OIDC_CLIENT_SECRET"] == "***"
    assert files["logs/control.log"].startswith("the first line\n***\n")


async def test_while_the_server_is_away_the_rest_is_gathered(tmp_path: Path) -> None:
    shell = Shell(dict.fromkeys(("auth", "cameras", "workers", "models"), "127.0.0.1:9"), tmp_path)
    (shell.data / "logs").mkdir()
    (shell.data / "logs" / "postgres.log").write_text("PANIC: no space left on device\n")
    said = await shell.ok("support", "gather", "--no-doctor", "-o", "out.tar.gz")
    assert "Not gathered: cameras.json: the server does not answer" in said
    files = unpacked(shell.folder / "out.tar.gz")
    assert "PANIC: no space left" in files["logs/postgres.log"]
    services: dict[str, Any] = json.loads(files["health/services.json"])
    assert all(isinstance(answer, str) for answer in services.values())
    (shell.data / "run" / "endpoints.json").unlink()
    await shell.ok("support", "gather", "--no-doctor", "-o", "again.tar.gz")
    files = unpacked(shell.folder / "again.tar.gz")
    assert "no Countline runs" in json.loads(files["manifest.json"])["not_gathered"]["server"]
    assert "PANIC" in files["logs/postgres.log"]
