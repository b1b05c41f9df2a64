"""What people see of the parts."""

import contextlib
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.spinner import Spinner

from countline_local.cli.display import JsonDisplay, TerminalDisplay, describe, parts_table, progress_table
from countline_local.supervision.part import PartEvent, PartState, PartStatus


def shown(renderable: object) -> list[str]:
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_starting_part_shows_what_it_waits_for_and_for_how_long() -> None:
    status = PartStatus("control", "127.0.0.1:8000", PartState.STARTING, detail="waits for postgres")
    status.since = time.monotonic() - 7
    spinners: dict[str, Spinner] = {}
    (line,) = shown(progress_table([status], spinners))
    assert line.endswith("control waits for postgres  7 s")
    shown(progress_table([status], spinners))
    assert list(spinners) == ["control"], "a new spinner at each redrawing would never turn"


def test_a_ready_part_shows_where_it_listens_and_how_long_it_took() -> None:
    status = PartStatus("nats", "127.0.0.1:4222", PartState.READY, ready_after_s=0.31)
    assert shown(progress_table([status], {})) == ["✓ nats ready after 0.3 s at 127.0.0.1:4222"]


def test_a_failed_part_shows_why() -> None:
    status = PartStatus("nats", "127.0.0.1:4222", PartState.FAILED, detail="it ended with exit code 1")
    assert describe(status) == "failed: it ended with exit code 1"
    assert shown(progress_table([status], {})) == ["✗ nats failed: it ended with exit code 1"]


def test_the_table_has_address_and_state_of_each_part() -> None:
    status = PartStatus("nats", "127.0.0.1:4222", PartState.READY, pid=12, restarts=3)
    stopped = PartStatus("worker", "127.0.0.1:9013")
    lines = shown(parts_table([status.as_json(), stopped.as_json()]))
    assert lines[0].split() == ["PART", "STATE", "ADDRESS", "PID", "RESTARTS"]
    assert lines[1].split() == ["nats", "ready", "127.0.0.1:4222", "12", "3"]
    assert lines[2].split() == ["worker", "stopped", "127.0.0.1:9013", "-", "0"]


@pytest.mark.parametrize("display", [TerminalDisplay, JsonDisplay])
def test_output_that_cannot_be_written_ends_nothing(
    display: type[TerminalDisplay], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up -d` writes to a log in the data folder; its first remark on a full disk ended the supervisor."""
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr("sys.stderr", full)
        monkeypatch.setattr("sys.stdout", full)
        shown = display()
        shown.note("a remark")
        shown.event(PartEvent("nats", "is ready again", good=True))
        shown.ready({"url": "http://127.0.0.1:1/", "data": "/data", "parts": []}, first_password="secret")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


def test_the_first_password_is_shown_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up -d` left the password in logs/up.log, and a service manager would keep it in its journal."""
    status = {"url": "http://127.0.0.1:1/", "data": "/data", "parts": []}
    TerminalDisplay().ready(status, first_password="four blue kettles")
    printed = capsys.readouterr().out
    assert "four blue kettles" not in printed
    assert "Password   in /data/credentials/admin-password\n" in printed
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    TerminalDisplay().ready(status, first_password="four blue kettles")
    assert "four blue kettles" in capsys.readouterr().out
