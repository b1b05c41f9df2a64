"""The commands that show what was counted, against a running system."""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.fixtures.analytics.cameras import add_camera
from tests.fixtures.analytics.factory import NOON, crossing, record, sample, span, visit
from tests.fixtures.analytics.stack import ADMIN_PASSWORD, Stack, until
from tests.fixtures.forked.command import countline

from countline_common.times import rfc3339

Scalar = Callable[..., object]
MINUTE = NOON - NOON % 60
HOUR = ["--start", rfc3339(MINUTE), "--end", rfc3339(MINUTE + 120)]


@pytest.fixture
async def run(stack: Stack, scalar: Scalar, tmp_path: Path) -> Callable[..., Awaitable[tuple[int, str, str]]]:
    """Runs a command against a system that has counted a little."""
    folder = tmp_path / "data"
    names = ("auth", "cameras", "workers")
    endpoints = {name: stack.addresses[name] for name in names}
    (folder / "run").mkdir(parents=True)
    (folder / "credentials").mkdir()
    (folder / "run" / "endpoints.json").write_text(
        json.dumps({**endpoints, "gateway": f"http://{stack.addresses['gateway']}"})
    )
    (folder / "credentials" / "admin-password").write_text(ADMIN_PASSWORD)
    await stack.publish(
        record(
            crossing(1, MINUTE + 5, line="south"),
            crossing(1, MINUTE + 9, line="north", direction="out"),
            visits=[visit(2, MINUTE + 5, 20.0)],
            occupancy=[sample(MINUTE, 0), sample(MINUTE + 30, 4)],
            coverage=[span(MINUTE, MINUTE + 59)],
        )
    )
    await until(lambda: scalar("SELECT count(*) FROM analytics.coverage") == 1)

    async def command(*arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(str(countline()), *arguments, "--data", str(folder)),
            env={**os.environ, "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    return command


async def test_counts_occupancy_and_flows_are_reported_as_json(run) -> None:
    shown = {}
    for arguments in (["counts", *HOUR], ["occupancy", *HOUR, "--bucket", "1m"], ["flows", "--camera", "cam-1", *HOUR]):
        code, out, err = await run(*arguments, "--json")
        assert code == 0, err
        shown[arguments[0]] = json.loads(out)
    assert sum(bucket["in"] for bucket in shown["counts"]["buckets"]) == 1
    assert [bucket.get("mean") for bucket in shown["occupancy"]["buckets"]] == [2, None]
    assert [(flow["origin"], flow["count"], flow.get("mean_s")) for flow in shown["flows"]["flows"]] == [
        ("", 1, None),
        ("line:south:in", 1, 4),
    ]


async def test_tables_show_what_was_seen_and_a_dash_where_nothing_was(run) -> None:
    shown = {}
    for arguments in (["counts", *HOUR], ["occupancy", *HOUR, "--bucket", "1m"], ["flows", "--camera", "cam-1", *HOUR]):
        code, shown[arguments[0]], err = await run(*arguments)
        assert code == 0, err
    assert "south" in shown["counts"]
    assert "camera cam-1" in shown["occupancy"]
    full, empty = (line for line in shown["occupancy"].splitlines() if "%" in line)
    assert "100%" in full
    assert " 20 " in full
    assert " - " in empty
    assert " 0%" in empty
    assert "line:north:out" in shown["flows"]


async def test_what_cannot_be_asked_is_said_with_the_exit_code(run) -> None:
    code, out, err = await run("occupancy", "--camera", "cam-9", *HOUR, "--json")
    assert (code, out) == (1, "")
    assert "cam-9" in err
    code, _, err = await run("counts", "--start", "yesterday")
    assert code == 1
    assert "2026-03-01T12:00:00Z" in err


BERLIN = ["--start", "2026-10-25", "--end", "2026-10-26", "--camera", "cam-1"]


@pytest.mark.parametrize("machine", ["UTC", "America/New_York"])
async def test_days_have_the_dates_of_the_site_whatever_the_zone_of_the_machine(
    run, stack: Stack, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    """2026-10-25 has 25 hours in Berlin and begins at 22:00 UTC."""
    monkeypatch.setenv("TZ", machine)
    await add_camera(stack)
    code, out, err = await run("counts", *BERLIN, "--bucket", "1d", "--line", "gate", "--json")
    assert code == 0, err
    (day,) = json.loads(out)["buckets"]
    assert (day["start"][:16], day["end"][:16]) == ("2026-10-24T22:00", "2026-10-25T23:00")
    code, out, err = await run("counts", *BERLIN, "--bucket", "1d")
    assert code == 0, err
    assert "time zone Europe/Berlin" in out
    assert "2026-10-25 " in out
    assert "2026-10-24" not in out
    code, out, err = await run("counts", *BERLIN, "--bucket", "1h", "--line", "gate")
    assert re.findall(r"2026-10-25 \d\d:\d\d(?:[+-]\d{4})?", out)[:5] == [
        "2026-10-25 00:00",
        "2026-10-25 01:00",
        "2026-10-25 02:00+0200",
        "2026-10-25 02:00+0100",
        "2026-10-25 03:00",
    ]
    code, out, err = await run("counts", *BERLIN, "--bucket", "1mo", "--line", "gate")
    assert "2026-10 " in out


async def test_a_time_without_an_offset_needs_one_zone(run, stack: Stack) -> None:
    await add_camera(stack)
    await stack.post("sites", {"site_id": "far", "time_zone": "Asia/Tokyo"})
    code, _, err = await run("counts", "--start", "2026-10-25")
    assert code == 1
    assert "several time zones" in err
    assert (await run("counts", "--start", "2026-10-25T00:00:00z"))[0] == 0
