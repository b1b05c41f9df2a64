"""The forked commands of the tests (`tests/fixtures/forked`): signals reach them, however early they come."""

import signal
import subprocess
import time

import psutil
import pytest
from tests.fixtures.forked.command import KILL, countline


def commands() -> set[psutil.Process]:
    """Forked commands that run now."""
    living = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
    servers = [each for each in living if "server.py" in " ".join(each.cmdline())]
    return {command for server in servers for command in server.children()}


def started() -> subprocess.Popen[bytes]:
    """A command that waits for a server that is not there."""
    away = {"COUNTLINE_ANALYTICS_DSN": "postgresql://u@127.0.0.1:1/x", "COUNTLINE_NATS_URL": "nats://127.0.0.1:1"}
    command = [str(countline()), "analytics", "ingest"]
    return subprocess.Popen(command, env=away, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("number", [KILL, signal.SIGTERM])
def test_a_signal_ends_a_command_from_its_first_moment_on(number: signal.Signals) -> None:
    """Before it is forked, between the fork and the server's answer, or later: when `wait` returns, it is gone."""
    others = commands()  # such as a Triton that serves the whole session
    for delay_ms in range(0, 60, 4):
        process = started()
        time.sleep(delay_ms / 1000)
        process.send_signal(number)
        process.wait(20)
        assert commands() <= others, f"after {delay_ms} ms"


def test_a_killed_command_shows_sigkill() -> None:
    others = commands()
    process = started()
    deadline = time.monotonic() + 20
    while commands() <= others:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(KILL)
    assert process.wait(20) == -signal.SIGKILL
