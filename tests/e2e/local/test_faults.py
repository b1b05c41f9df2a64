"""Every part killed in the middle of a file: what is counted is what is counted without.

A file that is played once has epoch 0 and a run of its own name: after a kill of the worker it is counted from its
beginning, and its crossings have the ids that they had before.
"""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import pytest_asyncio
from tests.fixtures.local.system import COUNTING, COUNTLINE, System, wait_for

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]

TIMES = 3
"""The clip is periodic: played so often it is still one scene, and long enough to be killed in."""
FINISHED_WITHIN_S = 300.0
ARRIVED_WITHIN_S = 120.0
QUIET_POLLS = 4


def repeat(source: Path, target: Path, times: int) -> None:
    """Write a clip several times over into one file, without decoding it."""
    with av.open(str(target), "w") as output:
        out_stream = None
        offset = 0
        for _ in range(times):
            with av.open(str(source)) as clip:
                stream = clip.streams.video[0]
                out_stream = out_stream or output.add_stream_from_template(stream)
                for packet in clip.demux(stream):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, out_stream
                    output.mux(packet)
                offset += stream.duration


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("faults") / 'Jürgen\'s "dätä" 数据', "--no-demo")
    try:
        running.wait_ready()
        running.run("sites", "add", "here")
        yield running
    finally:
        running.end()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A long file and what the clip that it repeats is known for."""
    folder = tmp_path_factory.mktemp("clip")
    subprocess.run([COUNTLINE, "models", "render-demo", "--out", folder, "--only", "plaza"], check=True, timeout=300)
    repeat(folder / "plaza.mp4", folder / "long.mp4", TIMES)
    return folder / "long.mp4", json.loads((folder / "plaza.json").read_text())


def add_camera(system: System, clip: tuple[Path, dict[str, Any]], name: str) -> None:
    path, known = clip
    lines = [
        word
        for line in known["lines"]
        for word in ("--line", f"{line['id']}:{','.join(str(number) for point in line['points'] for number in point)}")
    ]
    # Played faster than it was recorded: recorded now, it would end in the future.
    played = ("--playback", "fast", "--recorded-at", "2026-01-05T10:00:00Z")
    done = system.run("cameras", "add", name, str(path), "--model", "demo_detector", *played, *lines)
    assert done.returncode == 0, done.stderr


async def status(system: System, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (await system.get(f"/api/v1/cameras/{name}"))["observed"]
    return found


async def crossings(system: System, name: str) -> list[dict[str, Any]]:
    found = await system.get(f"/api/v1/analytics/crossings?camera_id={name}&page_size=1000&start=2020-01-01T00:00:00Z")
    return list(found.get("crossings", []))


def totals(found: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    counted: dict[tuple[str, str], int] = {}
    for each in found:
        key = (each["line_id"], each["direction"])
        counted[key] = counted.get(key, 0) + 1
    return counted


async def count_to_the_end(system: System, name: str, *, kill: str | None = None) -> dict[tuple[str, str], int]:
    """Wait until a camera's file is finished and all its crossings are in the database."""

    async def underway() -> bool:
        return (await status(system, name)).get("progress", 0.0) > 0.15

    async def finished() -> bool:
        return (await status(system, name))["state"] == "finished"

    if kill is not None:
        await wait_for(underway, FINISHED_WITHIN_S)
        before = await status(system, name)
        assert before["state"] in COUNTING, f"the file was over before {kill} could be killed: {before}"
        os.kill(system.part(kill)["pid"], signal.SIGKILL)
        await asyncio.to_thread(system.wait_ready)
    await wait_for(finished, FINISHED_WITHIN_S)
    return totals(await settled(system, name))


async def settled(system: System, name: str) -> list[dict[str, Any]]:
    """The crossings, when the worker's spool is empty and no more have come in for some seconds."""
    found: list[dict[str, Any]] = []
    quiet = 0

    async def still() -> bool:
        nonlocal found, quiet
        (worker,) = (await system.get("/api/v1/workers"))["workers"]
        now = await crossings(system, name)
        quiet = quiet + 1 if len(now) == len(found) and not worker.get("spool_bytes") else 0
        found = now
        return quiet >= QUIET_POLLS

    await wait_for(still, ARRIVED_WITHIN_S)
    return found


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def undisturbed(system: System, clip: tuple[Path, dict[str, Any]]) -> dict[tuple[str, str], int]:
    """The totals of the file when nothing is killed."""
    add_camera(system, clip, "undisturbed")
    found = await count_to_the_end(system, "undisturbed")
    true_count = TIMES * len(clip[1]["truth"])
    # Whether each crossing is counted is another test's question; here it is that there is plenty to lose.
    assert true_count * 0.8 <= sum(found.values()) <= true_count * 1.2
    return found


@pytest.mark.parametrize("part", ["nats", "triton", "postgres", "ingest", "worker"])
async def test_a_part_killed_in_the_middle_of_a_file_changes_no_total(
    system: System, clip: tuple[Path, dict[str, Any]], undisturbed: dict[tuple[str, str], int], part: str
) -> None:
    restarts = system.part(part)["restarts"]
    add_camera(system, clip, f"without-{part}")
    assert await count_to_the_end(system, f"without-{part}", kill=part) == undisturbed
    assert system.part(part)["restarts"] == restarts + 1
    found = await crossings(system, f"without-{part}")
    assert len({each["crossing_id"] for each in found}) == len(found)
