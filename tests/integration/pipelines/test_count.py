"""`countline count` as a user runs it: a process, its output, its exit code."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from tests.fixtures.clips import Pass, blob_model, cut_off, render
from tests.fixtures.forked.command import countline
from tests.fixtures.pipelines.stamps import HZ, restamped
from tests.fixtures.rtsp import RtspServer
from tests.fixtures.triton import TritonServer

LINE = ("--line", "middle:0.5,0,0.5,1")


@pytest.fixture(scope="module")
def blob_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "blob.onnx"
    path.write_bytes(blob_model().SerializeToString())
    return path


Options = tuple[str, ...]


@pytest.fixture
def blob(blob_triton: TritonServer) -> Options:
    """The blob model on a Triton that runs already: one that a command starts for itself costs a second."""
    return "--triton", blob_triton.grpc, "--model", "blob"


def count(source: Path | str, *options: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(countline()), "count", str(source), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == status, done.stderr
    return done


def counted(source: Path | str, *options: object) -> dict:
    return json.loads(count(source, *options, "--json").stdout)


def test_a_clip_gives_its_true_counts_and_the_whole_of_the_json(clip: Path, blob_file: Path) -> None:
    done = count(clip, "--model", blob_file, *LINE, "--line", "corner:0.9,0,1,0.05", "--json")
    result = json.loads(done.stdout)
    assert result["frames"] == 200
    assert result["warnings"] == []
    assert result["duration_s"] == pytest.approx(10.0)
    middle, corner = result["lines"]["middle"], result["lines"]["corner"]
    assert (middle["in"], middle["out"]) == (1, 3)
    assert sum(each["in"] for each in middle["by_class"].values()) == 1
    assert sum(each["out"] for each in middle["by_class"].values()) == 3
    assert corner == {"in": 0, "out": 0, "net": 0, "u_turns": 0, "by_class": {}}
    assert len(result["events"]) == 4
    assert [event["direction"] for event in result["events"]] == ["out", "out", "in", "out"]
    for event, true_t in zip(result["events"], (1.0, 3.5, 6.0, 8.5), strict=True):
        assert event.keys() >= {"id", "t", "decided_at", "frame", "line", "direction", "track", "class"}
        assert event["t"] == pytest.approx(true_t, abs=0.1)
        assert event["frame"] == pytest.approx(true_t * 20, abs=2)
        assert 0 < event["decided_at"] - event["t"] <= 3
    assert "fps" in done.stderr
    assert "ETA" in done.stderr


def test_a_clip_whose_timestamps_jump_keeps_its_counts_and_times_and_says_so(blob: Options, tmp_path: Path) -> None:
    stream = render(tmp_path / "stream.ts", [Pass(True), Pass(False)])
    jump = restamped(stream, tmp_path / "jump.ts", lambda n, t: t + (36_000 * HZ if n >= 30 else 0))
    result = counted(jump, *blob, *LINE)
    assert result["duration_s"] == pytest.approx(5.0)
    assert [event["t"] for event in result["events"]] == pytest.approx([1.0, 3.5], abs=0.1)
    assert [event["direction"] for event in result["events"]] == ["out", "in"]
    (warning,) = result["warnings"]
    assert "its timestamps jump once by +36000.0 s after 1.4 s" in warning["message"]
    assert warning["code"] == "timestamps"


def test_ids_depend_on_the_content_and_not_on_the_path(clip: Path, blob: Options, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "another name.mp4"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(clip.read_bytes())
    first, second = (counted(path, *blob, *LINE) for path in (clip, elsewhere))
    assert first == second
    other = render(tmp_path / "other.mp4", [Pass(True)])
    ids = {event["id"] for event in first["events"]}
    assert ids.isdisjoint(event["id"] for event in counted(other, *blob, *LINE)["events"])


def test_pixels_classes_rate_and_zones(clip: Path, blob: Options) -> None:
    places = ("--line", "middle:160,0,160,240", "--zone", "left:0,0,160,0,160,240,0,240")
    result = counted(clip, *blob, "--pixels", *places, "--rate", "10")
    assert (result["lines"]["middle"]["in"], result["lines"]["middle"]["out"]) == (1, 3)
    assert result["frames"] == pytest.approx(100, abs=2)
    # Who walked out of the picture is gone: who comes in there half a second later is another visitor.
    assert result["zones"]["left"]["visits"] == 4
    only_green = counted(clip, *blob, *LINE, "--classes", "green")
    by_number = counted(clip, *blob, *LINE, "--classes", "1")
    assert only_green["lines"] == by_number["lines"]
    assert set(only_green["lines"]["middle"]["by_class"]) <= {"green"}


def test_the_annotated_video_shows_every_frame_with_something_drawn_on_it(
    clip: Path, blob: Options, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    counted(clip, *blob, *LINE, "--annotate", out)
    with av.open(str(clip)) as before, av.open(str(out)) as after:
        pairs = zip(before.decode(video=0), after.decode(video=0), strict=True)
        differences = [
            np.abs(a.to_ndarray(format="gray").astype(int) - b.to_ndarray(format="gray")).max() for a, b in pairs
        ]
    assert len(differences) == 200
    assert min(differences) > 100, "the line and the totals are on every picture"


def test_a_stream_is_counted_until_asked_to_stop(rtsp: Callable[..., RtspServer], blob: Options) -> None:
    server = rtsp()
    result = counted(server.url(), *blob, *LINE, "--seconds", 12)
    assert result["frames"] > 40
    assert result["lines"]["middle"]["in"] + result["lines"]["middle"]["out"] >= 1


def broken(clip: Path, folder: Path, kind: str) -> Path | str:
    """A source of each kind of bad input."""
    path = folder / f"{kind}.mp4"
    data = bytearray(clip.read_bytes())
    if kind == "words":
        path.write_text("no video\n" * 100)
    elif kind == "truncated":
        return cut_off(clip, path)
    elif kind == "codec":
        path.write_bytes(data.replace(b"avc1", b"zzzz"))
    elif kind == "unreachable":
        return "rtsp://user:secret-word@127.0.0.1:9/cam"
    elif kind == "scheme":
        return "gopher://user:secret-word@host/cam"
    return path


@pytest.mark.parametrize(
    ("kind", "words", "hint"),
    [
        ("words", "is a text file, not a video", "video file"),
        ("missing", "no such file", "path"),
        ("truncated", "header states", "copy the file again"),
        ("codec", "decoder", "H.264"),
        ("unreachable", "connection refused", "camera is on"),
        ("scheme", "unknown scheme", "rtsp://"),
    ],
)
def test_a_bad_source_is_named_with_its_hint(
    clip: Path, blob: Options, tmp_path: Path, kind: str, words: str, hint: str
) -> None:
    done = count(broken(clip, tmp_path, kind), *blob, *LINE, "--json", status=1)
    printed = json.loads(done.stdout)  # what was counted, with the fault
    assert (printed["frames"] > 0) is (kind == "truncated")
    assert ("its header states" if kind == "truncated" else words) in printed["fault"]["message"]
    assert "secret-word" not in done.stdout
    assert "error: " in done.stderr
    assert words in done.stderr
    assert hint in done.stderr.partition("hint:")[2]
    assert "secret-word" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--line", "gate:0.5,0.5,0.5,0.5"), "same point"),
        (("--line", "gate:0,0,2,2"), "outside the picture"),
        ((), "nothing to count"),
        ((*LINE, "--classes", "unicorn"), "unicorn"),
        ((*LINE, "--model", "no-such-model"), "no-such-model"),
        ((*LINE, "--model", "missing.onnx"), "missing.onnx"),
    ],
)
def test_bad_options_are_named_with_their_hint(clip: Path, blob: Options, options: tuple, words: str) -> None:
    model = () if "--model" in options else blob
    done = count(clip, *model, *options, "--json", status=1)
    assert words in json.loads(done.stdout)["fault"]["message"]
    assert words in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_breaks_the_contract_is_refused(clip: Path, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.onnx"
    nonsense.write_bytes(b"not a model")
    done = count(clip, "--model", nonsense, *LINE, status=1)
    assert "nonsense.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_file_is_counted_where_that_is_wanted(clip: Path, blob: Options, tmp_path: Path) -> None:
    result = counted(cut_off(clip, tmp_path / "part.mp4"), *blob, *LINE, "--partial")
    assert 0 < result["frames"] < 200
    assert result["lines"]["middle"]["out"] in {1, 2}


# A shell that starts a program in the background has it ignore SIGINT; tests may run in such a one.
HEEDS_SIGINT = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from countline_common.cli.app import main; main()"
)


def test_ctrl_c_ends_a_stream_and_prints_what_was_counted(rtsp: Callable[..., RtspServer], blob: Options) -> None:
    options = ["count", rtsp().url(), *blob, *LINE, "--json"]
    with subprocess.Popen(
        [sys.executable, "-c", HEEDS_SIGINT, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "100"},  # a progress bar is drawn for terminals only
    ) as process:
        assert process.stderr is not None
        seen = ""
        while not re.search(r"[1-9]\d* frames", seen):
            character = process.stderr.read(1)
            assert character, seen
            seen += character
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(out)["frames"] > 0


def test_lines_lie_in_the_displayed_picture(clip: Path, blob: Options, tmp_path: Path) -> None:
    """A phone's recording, lying and squeezed, counted 1/0 for 4/3 without a word."""
    path = tmp_path / "phone.mp4"
    with av.open(str(clip)) as whole, av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20, options={"crf": "12", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 240, 160, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(1, 2)  # shown as 120x160, then turned
        stream.set_display_rotation(90)
        for index, shown in enumerate(whole.decode(video=0)):
            lying = np.ascontiguousarray(np.rot90(shown.to_ndarray(format="rgb24", width=160, height=240), -1))
            frame = av.VideoFrame.from_ndarray(lying, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    film = tmp_path / "annotated.mkv"
    result = counted(path, *blob, *LINE, "--annotate", film)
    assert (result["lines"]["middle"]["in"], result["lines"]["middle"]["out"]) == (1, 3)
    assert result["warnings"] == []
    with av.open(str(film)) as drawn:
        assert drawn.format.name.startswith("matroska")
        assert (drawn.streams.video[0].width, drawn.streams.video[0].height) == (160, 120)


def test_what_a_file_lacks_is_printed(clip: Path, blob: Options, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    start = int(len(data) * 0.4)
    data[start : start + len(data) // 5] = bytes(len(data) // 5)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    done = count(path, *blob, *LINE, "--json")
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning["code"] == "hole"
    assert f"warning: {warning['message']}" in done.stderr


def test_warnings_are_printed_though_no_frame_could_be_counted(clip: Path, blob: Options, tmp_path: Path) -> None:
    path = tmp_path / "no-key-frames.h264"
    with av.open(str(clip)) as source:
        filtered = BitStreamFilterContext("h264_mp4toannexb,filter_units=remove_types=5", source.streams.video[0])
        packets = [bytes(each) for packet in source.demux(video=0) for each in filtered.filter(packet)]
    path.write_bytes(b"".join(packets))
    done = count(path, *blob, *LINE, "--json", status=1)
    assert "warning: " in done.stderr
    assert "its pictures have no times" in done.stderr
