"""The golden clip, counted by `countline count` with a model that a real Triton serves."""

import asyncio
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import av
import psutil
import pytest
from tests.fixtures.forked.command import countline
from tests.fixtures.models.contract_models import marker_model
from tests.fixtures.repository import REPOSITORY
from tests.fixtures.triton import TritonServer, start_triton

from countline_common.errors import DeadlineExceededError, InvalidInputError
from countline_common.triton import ModelRef
from countline_demo.scenes import clips
from countline_demo.scenes.truth import true_crossings
from countline_models.deploy import (
    ClipLine,
    ClipTruth,
    Limits,
    ModelFolder,
    ServingTriton,
    demo_golden,
    examine,
    golden_problem,
)
from countline_models.deploy.golden import count_golden

DETECTOR = ModelRef("demo_detector", 1)
LABELS = ("person", "vehicle")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_probe")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    where = tmp_path_factory.mktemp("golden")
    shutil.copytree(REPOSITORY / "triton-repo" / "demo_detector", where / "models" / "demo_detector")
    started = start_triton(where / "models", where / "triton")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ClipTruth]:
    found = demo_golden(LABELS, tmp_path_factory.mktemp("clips"))
    assert found is not None
    return found


@pytest.fixture
async def serving(server: TritonServer) -> AsyncIterator[ServingTriton]:
    async with ServingTriton(server.grpc) as opened:
        yield opened


def test_the_demo_clip_is_rendered_once_and_announced_each_time(golden: tuple[Path, ClipTruth]) -> None:
    """`demo_golden` renders it by command, and `countline up` calls the same command."""
    clip, truth = golden
    assert {name: (line.into, line.out) for name, line in truth.lines.items()} == {"road": (4, 3), "pavement": (1, 2)}
    written = clip.stat().st_mtime_ns
    assert demo_golden(tuple(reversed(LABELS)), clip.parent) == golden
    command = [str(countline()), "models", "render-demo", "--out", str(clip.parent), "--only", clip.stem, "--json"]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
    with av.open(str(clip)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert printed["path"] == str(clip)
    assert frames == printed["frames"] == printed["duration_s"] * printed["fps"]
    assert clip.stat().st_mtime_ns == written
    assert sorted(path.name for path in clip.parent.iterdir()) == ["street.json", "street.mp4"]


async def test_the_shipped_detector_counts_the_demo_clip_exactly(
    server: TritonServer, serving: ServingTriton, golden: tuple[Path, ClipTruth]
) -> None:
    (clip, truth), shares = golden, list[float]()
    await serving.load(ModelFolder(server.repository), "demo_detector")
    lines = await count_golden(server.grpc, DETECTOR, clip, truth, shares.append)
    assert golden_problem(lines, truth) is None
    assert {line.line_id: (line.counted_in, line.counted_out) for line in lines} == {"road": (4, 3), "pavement": (1, 2)}
    assert len(shares) > 2
    assert shares == sorted(shares)
    assert 0.0 <= shares[0] < shares[-1] <= 1.0


def beginning(clip: Path, path: Path, seconds: float) -> Path:
    """Copy the first seconds of a clip."""
    with av.open(str(clip)) as whole, av.open(str(path), "w") as cut:
        stream = cut.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None and packet.dts * packet.time_base < seconds:
                packet.stream = stream
                cut.mux(packet)
    return path


async def test_only_the_classes_of_the_truth_count(
    server: TritonServer, serving: ServingTriton, golden: tuple[Path, ClipTruth], tmp_path: Path
) -> None:
    """In the first seconds two vehicles and a person cross; another test counts the whole clip."""
    (clip, truth), street, seconds = golden, clips.street(), 8.0
    crossed = Counter(
        (each.line, each.direction) for each in true_crossings(street.scene, street.lines) if each.t < seconds
    )
    assert crossed == {("road", "in"): 1, ("road", "out"): 1, ("pavement", "in"): 1}
    first = {
        name: replace(line, into=crossed[name, "in"], out=crossed[name, "out"]) for name, line in truth.lines.items()
    }
    await serving.load(ModelFolder(server.repository), "demo_detector")
    people = ClipTruth(first, classes=("person",))
    short = beginning(clip, tmp_path / "street.mp4", seconds)
    lines = await count_golden(server.grpc, DETECTOR, short, people, lambda _: None)
    assert golden_problem(lines, people) == "line 'road' counted 0 in and 0 out instead of 1 in and 1 out"


async def test_a_model_that_sees_nothing_is_reported_by_the_clip(
    server: TritonServer, serving: ServingTriton, golden: tuple[Path, ClipTruth], tmp_path: Path
) -> None:
    """It obeys the contract in every way, and is useless."""
    (clip, truth), folder = golden, ModelFolder(server.repository)
    (tmp_path / "marker.onnx").write_bytes(marker_model(96, 160).SerializeToString())
    blind = await examine(tmp_path / "marker.onnx", None, Limits())
    staged = folder.stage(blind.file, blind.contract)
    await serving.load(folder, staged)
    lines = await count_golden(server.grpc, ModelRef(staged, 1), clip, truth, lambda _: None)
    problem = golden_problem(lines, truth)
    assert problem is not None
    assert "line 'road' counted 0 in and 0 out instead of 4 in and 3 out" in problem
    assert "line 'pavement' counted 0 in and 0 out instead of 1 in and 2 out" in problem
    await serving.unload(staged)
    folder.unstage(staged)


async def test_a_count_that_nobody_waits_for_is_ended(
    server: TritonServer, serving: ServingTriton, golden: tuple[Path, ClipTruth]
) -> None:
    (clip, truth), begun = golden, asyncio.Event()
    await serving.load(ModelFolder(server.repository), "demo_detector")
    counting = asyncio.create_task(count_golden(server.grpc, DETECTOR, clip, truth, lambda _: begun.set()))
    async with asyncio.timeout(60):
        await begun.wait()
    assert counts_running()
    counting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await counting
    assert not counts_running()
    with pytest.raises(DeadlineExceededError, match=r"counting street\.mp4 took longer than 0\.2 s"):
        await count_golden(server.grpc, DETECTOR, clip, truth, lambda _: None, timeout_s=0.2)
    assert not counts_running()


def counts_running() -> list[psutil.Process]:
    """Children of ours that count."""
    return [child for child in psutil.Process().children() if "count" in command_of(child)]


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; none of one that is gone, or waits to be."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


async def test_what_the_count_refuses_is_refused_in_its_words(
    server: TritonServer, golden: tuple[Path, ClipTruth], tmp_path: Path
) -> None:
    clip, truth = golden
    (tmp_path / "holiday.mp4").write_bytes(b"no film")
    with pytest.raises(InvalidInputError, match=r"holiday\.mp4 cannot be counted: ") as caught:
        await count_golden(server.grpc, DETECTOR, tmp_path / "holiday.mp4", truth, lambda _: None)
    assert caught.value.hint
    (tmp_path / "clip").write_bytes(b"no film")
    with pytest.raises(InvalidInputError, match=r"^my \[b\] film\.mp4 cannot be counted: is a text file") as caught:
        await count_golden(server.grpc, DETECTOR, tmp_path / "clip", truth, lambda _: None, shown="my [b] film.mp4")
    assert str(tmp_path) not in f"{caught.value.message}{caught.value.hint}", "it is a folder of the server"
    dot = ClipTruth({"dot": ClipLine(((0.5, 0.5), (0.5, 0.5)), 0, 0)})
    with pytest.raises(InvalidInputError, match="dot"):
        await count_golden(server.grpc, DETECTOR, clip, dot, lambda _: None)
