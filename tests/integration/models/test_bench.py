"""`countline models bench` on real servers: the marker model, which takes next to no time."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.fixtures.models.contract_models import marker_model, write_marker_repository
from tests.fixtures.triton import TritonServer
from typer.testing import CliRunner

from countline_common.errors import ConflictError, CountlineError
from countline_common.triton import ModelRef, ModelRefusedError
from countline_common.triton.connection import Connection
from countline_common.triton.model_config import instance_count
from countline_common.triton.shared_memory import SHARED_MEMORY_DIRECTORY, SharedSegment
from countline_models.bench import load as bench_load
from countline_models.bench.points import Setting
from countline_models.bench.sweep import BenchPlan, sweep
from countline_models.cli.app import app
from countline_models.contract import ContractError

RUNNER = CliRunner()
QUICK = ("--seconds", "0.3", "--batch-sizes", "1,2", "--instances", "1")


def bench(*arguments: object) -> Any:
    """Call `countline models bench ... --json`; returns what it prints."""
    result = RUNNER.invoke(app, ["bench", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def poison(segment: SharedSegment, noise: object, lanes: int) -> None:
    """Fill frames with what the marker model fails on."""
    segment.buffer[:] = b"\xff" * segment.size_bytes


def our_segments() -> list[Path]:
    return list(SHARED_MEMORY_DIRECTORY.glob(f"{bench_load.SEGMENT_PREFIX}{os.getpid()}-*"))


def test_a_contract_file_is_measured_on_a_triton_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "marker.onnx"
    file.write_bytes(marker_model().SerializeToString())
    picture = tmp_path / "chart.png"
    printed = bench(file, *QUICK, "--queue-delays", "0,300", "--plot", picture)
    assert (printed["model"], printed["transport"], printed["size"]) == ("marker@1", "shm", [48, 32])
    measured = [(p["max_batch_size"], p["max_queue_delay_us"], p["in_flight"]) for p in printed["points"]]
    assert measured == [(1, 0, 1), (1, 0, 2), (2, 0, 1), (2, 0, 2), (2, 300, 1), (2, 300, 2)]
    for point in printed["points"]:
        assert point["requests"] > 0
        assert point["frames_per_s"] > 0
        assert 0 < point["latency_p50_ms"] <= point["latency_p95_ms"] <= point["latency_p99_ms"]
    assert printed["recommended"]["holds"] is True
    with Image.open(picture) as image:
        assert image.width > 100
    assert our_segments() == []


def test_a_model_of_a_repository_is_tuned_in_it(tmp_path: Path) -> None:
    repository = write_marker_repository(tmp_path, "marker")
    printed = bench("marker@1", *QUICK, "--repository", repository, "--apply")
    text = (repository / "marker" / "config.pbtxt").read_text()
    assert f"max_batch_size: {printed['recommended']['max_batch_size']}\n" in text
    assert "instance_group [ { count: 1 } ]" in text
    assert (repository / "marker" / "labels.txt").read_text() == "person\nvehicle\n"


def test_nothing_is_applied_that_breaks_the_limit(tmp_path: Path) -> None:
    repository = write_marker_repository(tmp_path, "marker")
    before = (repository / "marker" / "config.pbtxt").read_text()
    with pytest.raises(ConflictError, match="no setting stays within"):
        bench("marker", *QUICK, "--repository", repository, "--apply", "--latency-limit-ms", "0.001")
    assert (repository / "marker" / "config.pbtxt").read_text() == before


async def test_a_running_triton_has_its_model_back_as_it_was(fresh_triton: TritonServer) -> None:
    async with Connection(fresh_triton.grpc) as connection:
        await connection.load("marker")
        before = await connection.model_config("marker")
        plan = BenchPlan(ModelRef("marker"), [Setting(3, 3)], [1], 0.3, alone=False)
        found = await sweep(fresh_triton.grpc, plan, lambda _: None)
        assert (found.model, found.shared, len(found.points)) == (ModelRef("marker", 1), True, 1)
        assert instance_count(before or {}) != 3
        assert await connection.model_config("marker") == before


async def test_a_model_that_was_not_loaded_is_not_left_loaded(fresh_triton: TritonServer) -> None:
    await sweep(
        fresh_triton.grpc, BenchPlan(ModelRef("marker"), [Setting(1, 1)], [1], 0.3, alone=False), lambda _: None
    )
    async with Connection(fresh_triton.grpc) as connection:
        assert await connection.ready_versions("marker") == ()


@pytest.mark.parametrize(("loaded", "number", "times"), [(True, signal.SIGINT, 4), (False, signal.SIGHUP, 1)])
async def test_a_signal_leaves_a_running_triton_as_it_was(
    fresh_triton: TritonServer, loaded: bool, number: int, times: int
) -> None:
    """The end of the terminal, or a second Ctrl-C, left the configuration of the measurement behind."""
    async with Connection(fresh_triton.grpc) as connection:
        await connection.load("marker")
        before = await connection.model_config("marker")
        if not loaded:
            await connection.unload("marker")
        assert await interrupted_bench(fresh_triton, connection, number, times) == 128 + number
        assert await connection.model_config("marker") == (before if loaded else None)
        await connection.load("marker")
        assert await connection.model_config("marker") == before


async def interrupted_bench(server: TritonServer, connection: Connection, number: int, times: int) -> int:
    """Send a signal to a running `countline models bench` some times; returns its exit status."""
    options = ("--triton", server.grpc, "--batch-sizes", "3", "--instances", "3", "--seconds", "60")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("countline")), "models", "bench", "marker", *options
    )
    try:
        async with asyncio.timeout(60):
            while instance_count(await connection.model_config("marker") or {}) != 3:
                assert process.returncode is None
                await asyncio.sleep(0.02)
            for _ in range(times):
                process.send_signal(number)
                await asyncio.sleep(0.02)
            return await process.wait()
    finally:
        if process.returncode is None:  # it would go on measuring under the tests that follow
            process.kill()
            await process.wait()


async def test_a_version_that_a_running_triton_does_not_serve_is_refused(triton: TritonServer) -> None:
    plan = BenchPlan(ModelRef("marker", 7), [Setting(1, 1)], [1], 0.3, alone=False)
    with pytest.raises(ModelRefusedError, match="does not serve marker@7") as caught:
        await sweep(triton.grpc, plan, lambda _: None)
    assert "1" in caught.value.hint


async def test_frames_travel_as_bytes_to_a_triton_that_cannot_read_ours(
    fresh_triton: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server on another machine: segments that are made in another folder than its /dev/shm are none to it."""
    monkeypatch.setattr("countline_common.triton.shared_memory.SHARED_MEMORY_DIRECTORY", tmp_path)
    found = await sweep(fresh_triton.grpc, BenchPlan(ModelRef("marker"), [Setting(2, 1)], [1], 0.3), lambda _: None)
    assert found.shared is False
    assert found.points[0].requests > 5


async def test_a_model_that_refuses_the_frames_is_an_error_and_not_a_figure(
    fresh_triton: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_load, "_fill", poison)
    with pytest.raises(ModelRefusedError, match="refuses the model"):
        await sweep(fresh_triton.grpc, BenchPlan(ModelRef("marker"), [Setting(1, 1)], [1], 0.3), lambda _: None)
    assert our_segments() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_model"], "there is no model 'no_such_model'"),
        (["bad name!"], "names no model"),
        (["missing.onnx"], "there is no file missing.onnx"),
        (["demo_detector@99"], "there is no demo_detector@99"),
        (["demo_detector", "--batch-sizes", "1,x"], "--batch-sizes '1,x' is not a list"),
        (["demo_detector", "--instances", "0"], "--instances '0' is not a list"),
        (["demo_detector", "--batch-sizes", "1", "--queue-delays", "500"], "nothing to measure"),
        (["demo_detector", "--plot", "missing/x.png"], "cannot write --plot missing/x.png"),
        (["demo_detector", "--plot", "x.txt"], "cannot be written"),
        (["model.onnx", "--apply"], "measured on a private Triton"),
        (["demo_detector", "--triton", "127.0.0.1:1", "--repository", "here"], "exclude each other"),
        (["demo_detector", "--triton", "127.0.0.1:1"], "does not answer"),
    ],
)
def test_what_cannot_be_measured_is_said_with_a_hint(arguments: list[str], message: str) -> None:
    with pytest.raises(CountlineError, match=message) as caught:
        bench(*arguments)
    assert caught.value.hint


def test_a_model_that_breaks_the_contract_is_refused(tmp_path: Path) -> None:
    model = marker_model()
    model.graph.output[0].name = "boxes"
    model.graph.node[-1].output[0] = "boxes"
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ContractError, match="detections"):
        bench(tmp_path / "other.onnx")
