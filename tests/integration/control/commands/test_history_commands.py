"""`countline cameras history`, `show --at` and `rebuild`, as processes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.shell import Shell


@pytest.fixture
async def shell(control_dsn: str, start_control: Callable, tmp_path: Path) -> Shell:
    (tmp_path / "first-password").write_text(PASSWORD + "\n")
    control = await start_control(control_dsn, admin_password_file=tmp_path / "first-password")
    shell = Shell(control.plane.addresses, tmp_path)
    await shell.ok("sites", "add", "lab", "--time-zone", "UTC")
    await shell.ok("cameras", "add", "door", "rtsp://joe:s3cret@h.invalid/live", "--line", "gate:0.1,0.5,0.9,0.5")
    return shell


@pytest.fixture
def connection(control_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        yield connection


async def test_history_and_past_states_are_printed(shell: Shell) -> None:
    await shell.ok("cameras", "set", "door", "--line", "gate:0.1,0.6,0.9,0.6", "--location", "Lobby")
    await shell.ok("cameras", "pause", "door")
    found = (await shell.json("cameras", "history", "door"))["changes"]
    assert [[each["kind"] for each in change["events"]] for change in found] == [
        ["CameraPaused"],
        ["CameraMoved", "LineChanged"],
        ["CameraCreated", "LineDrawn"],
    ]
    assert "lost_s" not in found[0]["consequences"][0], "how long it will be paused is not known"
    table = await shell.ok("cameras", "history", "door")
    for words in ("line gate changed (version 2)", "the counts of version 1 stay apart", "moved", "paused", "created"):
        assert words in table, table
    assert "FIELDS" in await shell.ok("cameras", "history", "door", "-o", "wide")
    assert len((await shell.json("cameras", "history", "door", "--limit", "1"))["changes"]) == 1
    then = await shell.json("cameras", "show", "door", "--at", found[2]["occurred_at"])
    assert (then["revision"], then["spec"]["lines"][0]["version"], then.get("location", "")) == (1, 1, "")
    assert "0.1,0.5" in await shell.ok("cameras", "show", "door", "--at", found[2]["occurred_at"])
    for bad in (
        ("show", "door", "--at", "May"),
        ("show", "door", "--at", "2020-01-01T00:00:00Z"),
        ("history", "ghost"),
    ):
        code, _, err = await shell.run("cameras", *bad)
        assert (code, err.startswith("error: "), "hint: " in err) == (1, True, True), err


async def test_a_rebuild_exits_with_one_while_something_differs(shell: Shell, connection: psycopg.Connection) -> None:
    assert "equal" in await shell.ok("cameras", "rebuild")
    connection.execute("UPDATE cameras.cameras SET name = 'Hacked'")
    code, out, err = await shell.run("cameras", "rebuild")
    assert (code, "camera.name" in out, "Hacked" in out, "1 differences" in err) == (1, True, True, True), out + err
    code, out, _ = await shell.run("cameras", "rebuild", "--json")
    assert (code, '"stored": "Hacked"' in out) == (1, True), out
    assert "written" in await shell.ok("cameras", "rebuild", "--write", "--yes")
    assert (await shell.json("cameras", "rebuild"))["differences"] == []
