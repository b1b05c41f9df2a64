"""`countline context`, as a process, against running services."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.shell import Shell

VERA = "a long password"


@pytest.fixture
async def shell(control_dsn: str, start_control: Callable, tmp_path: Path) -> Shell:
    """A shell that knows no server: neither by a variable nor by a data folder of this machine."""
    (tmp_path / "first-password").write_text(PASSWORD + "\n")
    control = await start_control(control_dsn, admin_password_file=tmp_path / "first-password")
    shell = Shell(control.plane.addresses, tmp_path)
    await shell.ok("users", "add", "vera", "--role", "viewer", "--password-stdin", stdin=f"{VERA}\n")
    del shell.environment["COUNTLINE_DATA"]
    return shell


async def test_two_users_of_one_server_are_two_contexts(shell: Shell) -> None:
    for name in ("admin", "vera"):
        await shell.ok("context", "add", name, "--server", shell.server, "--user", name)
    await shell.ok("context", "use", "vera")
    code, _, err = await shell.run("sites", "list")
    assert (code, "countline --context vera login" in err) == (1, True)

    said = await shell.ok("login", "--password-stdin", stdin=f"{VERA}\n")
    assert "context vera, as vera" in said
    await shell.ok("--context", "admin", "login", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (await shell.json("whoami"))["user"]["username"] == "vera"
    assert (await shell.json("--context", "admin", "whoami"))["user"]["username"] == "admin"
    chosen = {**shell.environment, "COUNTLINE_CONTEXT": "admin"}
    assert (await shell.json("whoami", environment=chosen))["user"]["username"] == "admin"

    code, _, err = await shell.run("--context", "vera", "login", "-u", "admin", "--password-stdin", stdin="x\n")
    assert (code, "logs in as vera, and not as admin" in err) == (1, True)
    await shell.ok("--context", "vera", "logout")
    assert (await shell.run("whoami"))[0] == 1
    assert (await shell.json("--context", "admin", "whoami"))["user"]["username"] == "admin"


async def test_a_login_at_a_named_server_ends_the_use_of_a_context(shell: Shell) -> None:
    """Later commands use the server of a login, as the help of `login` says."""
    await shell.ok("context", "add", "away", "--server", "127.0.0.1", "--use")
    await shell.ok("login", "--server", shell.server, "-u", "vera", "--password-stdin", stdin=f"{VERA}\n")
    assert (await shell.json("whoami"))["user"]["username"] == "vera"
    assert (await shell.json("context", "show"))["chosen_by"] == "the last login"


async def test_a_key_from_standard_input_is_kept_private_and_removed_with_its_context(shell: Shell) -> None:
    admin = ("--data", str(shell.data))
    made = await shell.json("keys", "create", "wall", "--role", "viewer", *admin)
    code, _, err = await shell.run("context", "add", "bad", "--server", "h", "--api-key-stdin", stdin="cl_x\n")
    assert (code, "incomplete or mistyped" in err) == (1, True)
    await shell.ok("context", "add", "wall", "--server", shell.server, "--api-key-stdin", stdin=made["key"] + "\n")
    config = shell.folder / ".config" / "countline"
    holding = [path for path in config.rglob("*") if path.is_file() and made["key"] in path.read_text()]
    assert [str(path.relative_to(config)) for path in holding] == ["api-keys/wall"]
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600
    assert (await shell.json("--context", "wall", "sites", "list"))["sites"] == []
    for words in (("list",), ("show", "wall"), ("list", "--json"), ("show", "wall", "--json")):
        assert made["key"] not in await shell.ok("context", *words)
    code, _, err = await shell.run("context", "remove", "wall", stdin="n\n")
    assert (code, holding[0].exists()) == (1, True)
    await shell.ok("context", "remove", "wall", "--yes")
    assert not holding[0].exists()
    assert json.loads((await shell.run("context", "list", "--json"))[1]) == {"contexts": []}


async def test_the_list_marks_the_context_that_is_used_and_show_says_why(shell: Shell) -> None:
    await shell.ok("context", "add", "here", "--data", str(shell.data), "--description", "this [b]machine[/b]")
    await shell.ok("context", "add", "away", "--server", "counts.invalid", "--use")
    listed = (await shell.json("context", "list"))["contexts"]
    assert [(each["name"], each["used"]) for each in listed] == [("away", True), ("here", False)]
    assert "this [b]machine[/b]" in await shell.ok("context", "list")
    assert (await shell.json("context", "show"))["chosen_by"] == "countline context use"
    assert (await shell.json("--context", "here", "context", "show"))["chosen_by"] == "--context"
    assert (await shell.json("--context", "here", "whoami"))["user"]["username"] == "admin"
    named = {**shell.environment, "COUNTLINE_SERVER": "other.invalid"}
    assert (await shell.json("context", "show", environment=named))["server"] == "other.invalid"
    assert "COUNTLINE_SERVER stands above it" in await shell.ok("context", "use", "here", environment=named)
    await shell.ok("context", "use", "--none")
    assert (await shell.json("context", "show"))["chosen_by"] == "the default of this machine"


async def test_completion_asks_the_server_of_the_typed_context(shell: Shell) -> None:
    await shell.ok("--context", "", "sites", "add", "lab", "--time-zone", "UTC", "--data", str(shell.data))
    await shell.ok("cameras", "add", "door-1", "rtsp://camera.invalid/live", "--data", str(shell.data))
    await shell.ok("context", "add", "here", "--data", str(shell.data))

    async def offered(words: str) -> list[str]:
        asked = {"_COUNTLINE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        code, out, _ = await shell.run(environment={**shell.environment, **asked})
        assert code == 0
        return out.split()

    assert await offered("countline --context he") == ["here"]
    assert await offered("countline context use h") == ["here"]
    assert await offered("countline cameras show door") == []
    assert await offered("countline --context here cameras show door") == ["door-1"]
    assert await offered(f"countline cameras show --data {shell.data} door") == ["door-1"]
