"""`countline models quantize` on a small whole network, and on the demo detector with counts."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import pytest
from tests.fixtures.clips import Pass, render
from tests.fixtures.models.contract_models import marker_model
from tests.fixtures.models.detector_networks import SmallNet, fuse
from tests.fixtures.repository import REPOSITORY
from typer.testing import CliRunner

from countline_common.errors import CountlineError
from countline_demo.scenes import clips
from countline_demo.scenes.scene import Renderer
from countline_demo.scenes.truth import true_crossings
from countline_demo.scenes.video import write_video
from countline_models.cli.app import app
from countline_models.contract import FUSED_KEY, check_contract, set_metadata
from countline_models.fusing.options import FuseOptions
from countline_models.heads import head_named
from countline_models.quantize.int8 import QUANTIZED_KEY

RUNNER = CliRunner()


def quantize(*arguments: object) -> Any:
    """Call `countline models quantize ... --json`; returns what it prints."""
    result = RUNNER.invoke(app, ["quantize", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def small_detector() -> bytes:
    """A contract model of a backbone and three heads, of an opset that has no scales per channel."""
    net = SmallNet((64, 96), opset=11)
    trunk = net.op("Relu", net.conv(net.features(deepest=4)[4], 8, 8))
    heat = net.op("Sigmoid", net.conv(trunk, 8, 2, spread=4.0))
    size, offset = net.op("Exp", net.conv(trunk, 8, 2)), net.op("Sigmoid", net.conv(trunk, 8, 2))
    maps = {"hm": (heat, (1, 2, 16, 24)), "wh": (size, (1, 2, 16, 24)), "reg": (offset, (1, 2, 16, 24))}
    fused = fuse(net.model(maps), head_named("centernet"), ("person", "vehicle"), FuseOptions())
    set_metadata(fused, ("person", "vehicle"), 0.35)
    return fused.SerializeToString()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here relies on how fast a model is."""
    monkeypatch.setattr("countline_models.quantize.effect.ROUND_S", 0.005)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.onnx"
    path.write_bytes(small_detector())
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return render(tmp_path / "clip.mp4", [Pass(True)], pause_s=0.1)


HASTY = (
    "import countline_models.quantize.effect as effect; effect.ROUND_S = 0.005\n"
    "from countline_common.cli.app import main; main()"
)
"""The command in a process of its own, as hasty as in this one."""


def kinds(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize(
    ("options", "sign"),
    [
        ([], "QuantizeLinear"),
        (["--per-tensor", "--calibration", "minmax"], "QuantizeLinear"),
        (["--format", "qoperator"], "QLinearConv"),
    ],
)
def test_a_small_network_becomes_a_contract_model_in_eight_bits(
    model: Path, clip: Path, tmp_path: Path, options: list[str], sign: str
) -> None:
    out = tmp_path / "out" / "int8.onnx"
    printed = quantize(model, "-o", out, "--clip", clip, "--frames", 6, *options)
    assert (printed["convolutions"], printed["convolutions_eight_bit"]) == (6, 3)
    assert sign in kinds(out)
    assert printed["int8_bytes"] == out.stat().st_size
    assert check_contract(out) == check_contract(model)
    assert printed["detections"]["frames"] == 6
    assert printed["verdict"] in {"does not pay", "undecided"}  # no line, so it cannot pay


def test_labels_threshold_and_how_it_was_fused_survive(model: Path, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    quantize(model, "-o", out, "--clip", clip, "--frames", 4)
    before, after = ({entry.key: entry.value for entry in onnx.load(path).metadata_props} for path in (model, out))
    assert FUSED_KEY in before
    assert after.pop(QUANTIZED_KEY) == "int8 qdq, per channel, percentile of 4 frames, 3/6 Conv"
    assert after == before
    assert {entry.domain for entry in onnx.load(out).opset_import} == {""}


def test_what_is_excluded_stays_in_floating_point(model: Path, clip: Path, tmp_path: Path) -> None:
    printed = quantize(model, "-o", tmp_path / "int8.onnx", "--clip", clip, "--frames", 4, "--exclude", "Relu")
    assert printed["convolutions_eight_bit"] == 3
    everything = quantize(model, "-o", tmp_path / "whole.onnx", "--clip", clip, "--frames", 4)
    assert printed["int8_bytes"] != everything["int8_bytes"]


def test_the_same_input_gives_the_same_bytes_in_another_process(model: Path, clip: Path, tmp_path: Path) -> None:
    """ONNX Runtime goes through sets of names, whose order is new in every process."""
    digests = set()
    for seed in ("1", "2"):
        out = tmp_path / f"{seed}.onnx"
        command = [sys.executable, "-c", HASTY, "models", "quantize"]
        arguments = [str(model), "-o", str(out), "--clip", str(clip), "--frames", "4", "--json"]
        subprocess.run([*command, *arguments], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, timeout=120)
        digests.add(hashlib.sha256(out.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.slow
def test_the_demo_detector_counts_in_eight_bits_what_it_counts_in_float(tmp_path: Path) -> None:
    shipped = REPOSITORY / "triton-repo" / "demo_detector" / "1" / "model.onnx"
    """The clip is the beginning of a demo clip: two people cross, the last of them a second before its end."""
    plaza, clip, frames = clips.plaza(), tmp_path / "plaza.mp4", 112
    renderer, line = Renderer(plaza.scene), plaza.lines[0]
    pictures = (renderer.frame(index).pixels for index in range(frames))
    write_video(clip, pictures, plaza.scene.camera.size_wh, plaza.scene.fps)
    points = ",".join(str(value) for point in line.points for value in point)
    out = tmp_path / "int8.onnx"
    printed = quantize(shipped, "-o", out, "--clip", clip, "--frames", 16, "--line", f"{line.id}:{points}")
    assert printed["int8_bytes"] < 0.7 * printed["float_bytes"]
    assert printed["detections"]["recall"] > 0.95
    assert printed["detections"]["precision"] > 0.95
    (counts,) = printed["counts"]
    assert counts["in_float"] == counts["in_int8"]
    (counted,) = counts["in_float"]
    true = [crossing for crossing in true_crossings(plaza.scene, plaza.lines) if crossing.t < frames / plaza.scene.fps]
    assert counted["into"] + counted["out"] == len(true) == 2


def without_video(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def one_frame(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_clip_that_cannot_be_used_is_refused_with_a_hint(model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video at all")
    for clip, message in (
        (tmp_path / "missing.mp4", "there is no clip"),
        (tmp_path / "text.mp4", "cannot be read as a video"),
        (without_video(tmp_path / "sound.mp4"), "has no video stream"),
        (one_frame(tmp_path / "one.mp4"), "has one frame"),
    ):
        with pytest.raises(CountlineError, match=message) as caught:
            quantize(model, "-o", tmp_path / "int8.onnx", "--clip", clip)
        assert caught.value.hint
    assert not (tmp_path / "int8.onnx").exists()


def test_a_model_that_cannot_be_quantised_is_refused_with_a_hint(model: Path, clip: Path, tmp_path: Path) -> None:
    bare, other = tmp_path / "bare.onnx", tmp_path / "other.onnx"
    bare.write_bytes(marker_model().SerializeToString())
    broken = marker_model()
    broken.graph.input[0].name = broken.graph.node[0].input[0] = "pictures"
    broken.graph.node[2].input[0] = "pictures"
    other.write_bytes(broken.SerializeToString())
    done = tmp_path / "done.onnx"
    quantize(model, "-o", done, "--clip", clip, "--frames", 2)
    for file, message in (
        (tmp_path / "missing.onnx", "there is no file"),
        (clip, "is not an ONNX model"),
        (other, "breaks the detection contract"),
        (bare, "no two convolutions follow each other"),
        (done, "quantised already"),
    ):
        with pytest.raises(CountlineError, match=message) as caught:
            quantize(file, "-o", tmp_path / "int8.onnx", "--clip", clip, "--frames", 2)
        assert caught.value.hint
    with pytest.raises(CountlineError, match="it is a file that this command reads"):
        quantize(model, "-o", model, "--clip", clip)
    with pytest.raises(CountlineError, match="no node matches"):
        quantize(model, "-o", tmp_path / "int8.onnx", "--clip", clip, "--frames", 2, "--exclude", "Nothing*")
