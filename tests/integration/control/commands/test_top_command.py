"""`countline top` and `--watch`, as processes: on a terminal, outside of one, and while the server is away."""

import asyncio
import os
import pty
import signal
import struct
import termios
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.analytics.stack import until
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.shell import Shell
from tests.fixtures.forked.command import countline

ALTERNATE_SCREEN, NORMAL_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture
async def plane(control_dsn: str, start_control: Callable, tmp_path: Path) -> Any:
    (tmp_path / "first-password").write_text(PASSWORD + "\n")
    return await start_control(control_dsn, admin_password_file=tmp_path / "first-password")


@pytest.fixture
async def shell(plane: Any, tmp_path: Path) -> Shell:
    shell = Shell(plane.plane.addresses, tmp_path)
    await shell.ok("sites", "add", "lab", "--time-zone", "UTC")
    await shell.ok("cameras", "add", "door", "rtsp://camera.invalid/live")
    return shell


class Screen:
    """A terminal of 80 columns and 24 lines, and everything that was written to it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.text = ""

    def read(self) -> None:
        self.text += os.read(self.ours, 65536).decode(errors="replace")

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    async def shows(self, words: str, since: int = 0) -> None:
        await until(lambda: words in self.text[since:], 60)


@pytest.fixture
async def screen() -> Any:
    screen = Screen()
    loop = asyncio.get_running_loop()
    loop.add_reader(screen.ours, screen.read)
    yield screen
    loop.remove_reader(screen.ours)
    os.close(screen.ours)
    os.close(screen.theirs)


async def start(shell: Shell, screen: Screen, *words: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(countline()), *(words or ("top",)), cwd=shell.folder,
        stdin=screen.theirs, stdout=screen.theirs, stderr=screen.theirs,
        env={**shell.environment, "TERM": "xterm-256color", **environment},
    )  # fmt: skip


@pytest.fixture
def left_as_found(screen: Screen) -> Iterator[None]:
    """The terminal echoes and waits for lines again."""
    before = termios.tcgetattr(screen.theirs)
    yield
    assert termios.tcgetattr(screen.theirs) == before


@pytest.mark.usefixtures("left_as_found")
async def test_on_a_terminal_keys_sort_and_quit(shell: Shell, screen: Screen) -> None:
    process = await start(shell, screen)
    await screen.shows("waiting")
    assert ALTERNATE_SCREEN in screen.text
    assert "door" in screen.text
    assert "\x1b[33mwaiting" in screen.text
    await screen.shows("(sorted by state)")
    screen.press("s")
    await screen.shows("(sorted by camera)")
    screen.press("r")
    await screen.shows("(sorted by camera, reversed)")
    screen.press("q")
    assert await asyncio.wait_for(process.wait(), 30) == 0
    await screen.shows(NORMAL_SCREEN)


@pytest.mark.usefixtures("left_as_found")
async def test_ctrl_c_leaves_the_terminal_as_it_was(shell: Shell, screen: Screen) -> None:
    process = await start(shell, screen, NO_COLOR="1")
    await screen.shows("waiting")
    assert "\x1b[33m" not in screen.text
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 30) in {1, 130, 143}
    await screen.shows(NORMAL_SCREEN)


@pytest.mark.usefixtures("left_as_found")
async def test_a_server_that_goes_away_and_comes_back_is_found_again(shell: Shell, screen: Screen) -> None:
    process = await start(shell, screen, "top", "--interval", "0.5")
    await screen.shows("waiting")
    endpoints = shell.data / "run" / "endpoints.json"
    right = endpoints.read_text()
    endpoints.unlink()
    await screen.shows("trying again: ")
    gone = len(screen.text)
    await screen.shows("door", gone)  # the last numbers stay
    endpoints.write_text(right)
    await screen.shows("trying again: ", gone)
    await shell.ok("cameras", "add", "yard", "rtsp://camera.invalid/live")
    await screen.shows("yard", gone)
    screen.press("q")
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_without_a_login_the_command_ends_with_an_error(shell: Shell, screen: Screen) -> None:
    (shell.data / "credentials" / "admin-password").unlink()
    (shell.data / "run" / "cli-login.json").unlink()
    process = await start(shell, screen)
    assert await asyncio.wait_for(process.wait(), 60) == 1
    await screen.shows("cannot read the admin password")


async def test_outside_a_terminal_one_screen_or_json_is_printed(shell: Shell) -> None:
    code, _, err = await shell.run("top")
    assert (code, "countline top --once, or --json" in err) == (1, True)
    text = await shell.ok("top", "--once")
    assert "1 camera: 1 waiting" in text
    assert "Counts are unknown: http://127.0.0.1:9" in text
    assert "\x1b" not in text
    found = await shell.json("top")
    assert [(each["camera_id"], each["state"], each["counts_per_minute"]) for each in found["cameras"]] == [
        ("door", "waiting", None)
    ]
    (shell.data / "run" / "endpoints.json").unlink()
    assert (await shell.run("top", "--once"))[0] == 1


@pytest.mark.usefixtures("left_as_found")
async def test_a_watched_list_follows_changes_and_outlives_the_server(shell: Shell, screen: Screen) -> None:
    process = await start(shell, screen, "cameras", "list", "--watch")
    await screen.shows("door")
    await shell.ok("cameras", "add", "yard", "rtsp://camera.invalid/live")
    await screen.shows("yard")
    (shell.data / "run" / "endpoints.json").unlink()
    await screen.shows("no answer, trying again: ")
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 30) == 130
    for words in (["--json"], ["-o", "yaml"], []):
        code, _, err = await shell.run("workers", "list", "--watch", *words)
        assert (code, "--watch draws tables on a terminal" in err) == (1, True)
