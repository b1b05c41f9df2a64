"""A model's way on a running system: deployed, promoted, rolled back, while a camera counts and loses nothing.

The file that is counted is played once, at its own speed, so its true crossings are known and nothing is counted anew.
"""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.fixtures.forked.command import countline
from tests.fixtures.local.system import COUNTING, COUNTLINE, System, wait_for

from countline_local.triton.shipped_models import find_shipped
from countline_models.deploy import ClipTruth, demo_golden, parse_truth

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.asyncio(loop_scope="module")]

TAKEN_UP_S = 90.0
CHANGED_S = 90.0
PLAYED_S = 180.0
FINAL_S = 60.0
TRIAL_S = 420.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("models") / "data", "--no-demo")
    try:
        running.wait_ready()
        say(running, "sites", "add", "site", "--time-zone", "Europe/Berlin")
        yield running
    finally:
        running.end()


def say(system: System, *words: str) -> str:
    """Give a command as an operator would; returns what it prints. Forked, it leaves the processor to the cameras."""
    done = system.run(*words, command=countline())
    assert done.returncode == 0, f"countline {' '.join(words)}: {done.stderr}"
    return done.stdout


def fuse(network: Path, out: Path, *options: str) -> Path:
    """Make a contract model, which needs no system."""
    subprocess.run([COUNTLINE, "models", "fuse", network, "-o", out, *options], check=True, timeout=120)
    return out


async def ask(system: System, *words: str) -> str:
    return await asyncio.to_thread(say, system, *words)


def copy_with_other_bytes(model: Path, out: Path, comment: str) -> Path:
    """The same network under another digest."""
    read = onnx.load(str(model))
    read.doc_string = comment
    onnx.save(read, str(out))
    return out


def played_twice(clip: Path, out: Path) -> Path:
    """A demo clip is periodic, so two of them in a row are one of twice the length, and twice the crossings."""
    with av.open(str(out), "w") as target:
        stream, offset = None, 0
        for _ in range(2):
            with av.open(str(clip)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                length = round(video.frames / video.average_rate / video.time_base)
                for packet in source.demux(video):
                    if packet.dts is not None:
                        packet.dts, packet.pts = packet.dts + offset, packet.pts + offset
                        packet.stream = stream
                        target.mux(packet)
            offset += length
    return out


def doubled(truth: ClipTruth) -> ClipTruth:
    lines = {name: replace(line, into=2 * line.into, out=2 * line.out) for name, line in truth.lines.items()}
    return replace(truth, lines=lines)


def lines_of(truth: ClipTruth) -> list[str]:
    options = []
    for name, line in truth.lines.items():
        points = ",".join(f"{value:.6g}" for point in line.points for value in point)
        classes = f":{','.join(truth.classes)}" if truth.classes else ""
        options += ["--line", f"{name}:{points}{classes}"]
    return options


async def status_of(system: System, camera_id: str) -> dict[str, Any]:
    status: dict[str, Any] = (await system.get(f"/api/v1/cameras/{camera_id}"))["observed"]
    return status


async def counted_with(system: System, camera_id: str, model: str, within_s: float) -> None:
    async def holds() -> bool:
        status = await status_of(system, camera_id)
        assert status["state"] != "finished", f"the file ended before {model} counted it"
        return bool(status["state"] in COUNTING and status["model"] == model)

    await wait_for(holds, within_s)


async def finished(system: System, camera_id: str) -> None:
    async def holds() -> bool:
        return bool((await status_of(system, camera_id))["state"] == "finished")

    await wait_for(holds, PLAYED_S)


async def crossings_of(system: System, camera_id: str) -> list[dict[str, Any]]:
    found = await system.get(f"/api/v1/analytics/crossings?camera_id={camera_id}&page_size=1000")
    return list(found.get("crossings", []))


async def assert_counted(system: System, camera_id: str, truth: ClipTruth) -> None:
    """Every true crossing is there once, and nothing else."""
    true = Counter(
        {
            (name, word): number
            for name, line in truth.lines.items()
            for word, number in (("in", line.into), ("out", line.out))
            if number
        }
    )

    async def all_there() -> bool:
        return len(await crossings_of(system, camera_id)) >= true.total()

    await wait_for(all_there, FINAL_S)
    crossings = await crossings_of(system, camera_id)
    assert len({each["crossing_id"] for each in crossings}) == len(crossings)
    assert Counter((each["line_id"], each["direction"]) for each in crossings) == true


async def test_a_camera_goes_over_to_a_promoted_version_and_back_and_counts_every_crossing_once(
    system: System, tmp_path: Path
) -> None:
    found = await asyncio.to_thread(demo_golden, ("person", "vehicle"), tmp_path)
    assert found is not None
    clip, truth = played_twice(found[0], tmp_path / "twice.mp4"), doubled(found[1])
    shipped = find_shipped() / "demo_detector" / "1" / "model.onnx"
    second = copy_with_other_bytes(shipped, tmp_path / "second.onnx", "another training")
    deployed = json.loads(await ask(system, "models", "deploy", str(second), "--name", "demo_detector", "--json"))
    assert (deployed["version"], deployed["state"]) == (2, "validated")
    assert deployed["validation"]["golden"]["state"] == "passed"

    options = ["--site", "site", "--playback", "realtime", *lines_of(truth)]
    await ask(system, "cameras", "add", "street", str(clip), *options)
    await counted_with(system, "street", "demo_detector@1", TAKEN_UP_S)
    await ask(system, "models", "promote", "demo_detector@2")
    await counted_with(system, "street", "demo_detector@2", CHANGED_S)
    await ask(system, "models", "rollback", "demo_detector")
    await counted_with(system, "street", "demo_detector@1", CHANGED_S)
    await finished(system, "street")
    await assert_counted(system, "street", truth)
    assert (await status_of(system, "street"))["frames_dropped"] == 0


async def test_a_network_as_its_authors_export_it_counts_cars_and_may_be_changed_in_between(
    system: System, tmp_path: Path, shared_data: Path
) -> None:
    videos = shared_data / "videos"
    truth = parse_truth((videos / "car.truth.json").read_text())
    for version, floor in ((1, "0.05"), (2, "0.06")):
        network, out = shared_data / "models" / "yolox_nano.onnx", tmp_path / f"fused-{version}.onnx"
        fused = await asyncio.to_thread(fuse, network, out, "--score-floor", floor)
        golden = ["--golden", str(videos / "car.mp4"), "--truth", str(videos / "car.truth.json")]
        # The second differs in its floor alone; counting the whole clip takes as long as all else here.
        await ask(system, "models", "deploy", str(fused), "--name", "yolox_nano", *(golden if version == 1 else []))
    await ask(system, "models", "promote", "yolox_nano@1")
    options = ["--site", "site", "--model", "yolox_nano", "--playback", "realtime", *lines_of(truth)]
    await ask(system, "cameras", "add", "cars", str(videos / "car.mp4"), *options)
    await counted_with(system, "cars", "yolox_nano@1", TAKEN_UP_S)
    await ask(system, "models", "promote", "yolox_nano@2")
    await counted_with(system, "cars", "yolox_nano@2", CHANGED_S)
    await ask(system, "cameras", "set", "cars", "--model", "yolox_nano@1")
    await counted_with(system, "cars", "yolox_nano@1", CHANGED_S)
    await finished(system, "cars")
    await assert_counted(system, "cars", truth)


def blind_to(class_index: int, model: Path, out: Path) -> Path:
    """A copy that sees nothing of one class: a model whose recall is worse."""
    read = onnx.load(str(model))
    (node,) = [node for node in read.graph.node if "detections" in node.output]
    node.output[list(node.output).index("detections")] = "all_detections"
    constants = {"score": [4], "class": [5], "wanted": [float(class_index)], "axis": [-1], "box_end": [4], "start": [0]}
    for name, value in constants.items():
        kind = np.float32 if name == "wanted" else np.int64
        read.graph.initializer.append(numpy_helper.from_array(np.array(value, kind), f"blind.{name}"))
    read.graph.node.extend(
        [
            helper.make_node("Gather", ["all_detections", "blind.class"], ["blind.classes"], axis=2),
            helper.make_node("Equal", ["blind.classes", "blind.wanted"], ["blind.hidden"]),
            helper.make_node("Not", ["blind.hidden"], ["blind.seen"]),
            helper.make_node("Cast", ["blind.seen"], ["blind.factor"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["all_detections", "blind.factor"], ["detections"]),
        ]
    )
    onnx.checker.check_model(read)
    onnx.save(read, str(out))
    return out


async def trial_of(system: System) -> dict[str, Any]:
    (newest, *_) = (await system.get("/api/v1/ai-models/demo_detector/trials"))["trials"]
    found = await system.get(f"/api/v1/ai-models/demo_detector/trials/{newest['trial_id']}")
    trial: dict[str, Any] = found
    return trial


async def ended_trial(system: System) -> dict[str, Any]:
    async def holds() -> bool:
        return bool((await trial_of(system))["state"] != "running")

    await wait_for(holds, TRIAL_S)
    return await trial_of(system)


@pytest.mark.acceptance
async def test_a_canary_that_misses_people_rolls_back_and_an_equal_one_is_promoted(
    system: System, tmp_path: Path
) -> None:
    """Three tenths of the clip's crossings are people's: a fifth of all would be found as well, in more time."""
    found = await asyncio.to_thread(demo_golden, ("person", "vehicle"), tmp_path)
    assert found is not None
    clip, truth = found
    cameras = ("north", "south")
    for camera in cameras:
        await ask(system, "cameras", "add", camera, str(clip), "--site", "site", "--playback", "loop", *lines_of(truth))
    shipped = find_shipped() / "demo_detector" / "1" / "model.onnx"
    # The clip itself would refuse it at once; so only what the copy does see is held to the truth.
    road, truth_file = truth.lines["road"], tmp_path / "truth.json"
    truth_file.write_text(json.dumps({"lines": {"road": {"points": road.points, "in": road.into, "out": road.out}}}))
    blind = await asyncio.to_thread(blind_to, 0, shipped, tmp_path / "blind.onnx")
    golden = ["--golden", str(clip), "--truth", str(truth_file)]
    live = (await system.get("/api/v1/ai-models/demo_detector"))["live_version"]
    printed = await ask(system, "models", "deploy", str(blind), "--name", "demo_detector", *golden, "--json")
    worse = json.loads(printed)["version"]
    for camera in cameras:
        await counted_with(system, camera, f"demo_detector@{live}", TAKEN_UP_S)

    await ask(system, "models", "canary", f"demo_detector@{worse}", "--cameras", ",".join(cameras))
    for camera in cameras:
        await counted_with(system, camera, f"demo_detector@{worse}", CHANGED_S)
    rejected = await ended_trial(system)
    assert rejected["state"] == "rejected", rejected
    for camera in cameras:
        await counted_with(system, camera, f"demo_detector@{live}", CHANGED_S)

    same = await asyncio.to_thread(copy_with_other_bytes, shipped, tmp_path / "same.onnx", "trained once more")
    equal = json.loads(await ask(system, "models", "deploy", str(same), "--name", "demo_detector", "--json"))["version"]
    words = ("--cameras", ",".join(cameras), "--promote-if-better")
    await ask(system, "models", "shadow", f"demo_detector@{equal}", *words)
    accepted = await ended_trial(system)
    assert accepted["state"] == "accepted", accepted
    assert (await system.get("/api/v1/ai-models/demo_detector"))["live_version"] == equal
