"""The commands that show what was counted, against a running system."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
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


async def test_counts_occupancy_and_flows_are_told_as_json(run) -> None:
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
