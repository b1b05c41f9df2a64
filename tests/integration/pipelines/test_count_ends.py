"""How `countline count` ends when something fails: what was counted is printed, with the fault, and no file is lost."""

import http.server
import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.fixtures.clips import Pass, cut_off, render
from tests.fixtures.forked.command import forked
from tests.fixtures.rtsp import RtspServer
from tests.fixtures.triton import TritonServer
from tests.fixtures.triton_proxy import TritonProxy

LINE = ("--line", "middle:0.5,0,0.5,1")
FRAMES = 200
"""Of the clip."""
Proxies = Callable[..., TritonProxy]


def command(source: Path | str, triton: str, *options: object) -> list[str]:
    served = ("--triton", triton, "--triton-transport", "grpc", "--model", "blob")
    return [str(forked("impatient_count")), "count", str(source), *LINE, *served, *map(str, options)]


def count(source: Path | str, triton: str, *options: object, status: int = 1) -> tuple[dict, str]:
    """Count and return the JSON and the standard error."""
    words = command(source, triton, "--json", *options)
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout), done.stderr


def in_and_out(result: dict) -> tuple[int, int]:
    return result["lines"]["middle"]["in"], result["lines"]["middle"]["out"]


# Sources that fail at once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "code", "options"),
    [
        ("missing.mp4", "NOT_FOUND", ()),
        ("rtsp://127.0.0.1:9/s", "UNAVAILABLE", ()),
        ("rtps://127.0.0.1/s", "INVALID_ARGUMENT", ()),
        ("missing.mp4", "INVALID_ARGUMENT", ("--annotate", "/nowhere/film.mp4")),
    ],
)
def test_the_json_is_printed_though_no_frame_was_counted(
    source: str, code: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    source = source if "://" in source else str(tmp_path / source)
    result, errors = count(source, "127.0.0.1:9", *options)
    assert (result["frames"], result["duration_s"], in_and_out(result)) == (0, 0, (0, 0))
    assert (result["events"], result["flows"], result["zones"], result["warnings"]) == ([], [], {}, [])
    assert result["fault"]["code"] == code
    assert f"error: {result['fault']['message']}\nhint: {result['fault']['hint']}" in errors


def test_the_json_is_printed_though_triton_does_not_answer(clip: Path) -> None:
    result, _ = count(clip, "127.0.0.1:9", "--pixels", "--line", "middle:160,0,160,240")
    assert (result["frames"], result["fault"]["code"]) == (0, "INVALID_ARGUMENT"), "the name of a line twice"
    result, _ = count(clip, "127.0.0.1:9")
    assert (result["frames"], in_and_out(result), result["fault"]["code"]) == (0, (0, 0), "UNAVAILABLE")


def test_the_json_is_printed_though_no_picture_can_be_decoded(
    clip: Path, blob_triton: TritonServer, tmp_path: Path
) -> None:
    broken = bytearray(clip.read_bytes())
    begin = broken.index(b"mdat") + 4
    broken[begin:] = bytes(len(broken) - begin)
    source = tmp_path / "broken.mp4"
    source.write_bytes(broken)
    result, _ = count(source, blob_triton.grpc)
    assert (result["frames"], in_and_out(result)) == (0, (0, 0))
    assert result["fault"]["message"]


def test_no_table_is_printed_if_no_frame_was_counted(tmp_path: Path) -> None:
    words = command(tmp_path / "missing.mp4", "127.0.0.1:9")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")


# Files that cannot be written ----------------------------------------------------------------------------------------


def test_counts_are_printed_whatever_becomes_of_the_video(
    clip: Path, blob_triton: TritonServer, tmp_path: Path
) -> None:
    result, errors = count(
        clip, blob_triton.grpc, "--annotate", "/dev/full", "--trajectories", tmp_path / "paths.jsonl"
    )
    assert (result["frames"], in_and_out(result)) == (FRAMES, (1, 3))
    assert result["fault"]["code"] == "RESOURCE_EXHAUSTED"
    assert "error: cannot write --annotate /dev/full: No space left on device\nhint: " in errors
    paths = [json.loads(line) for line in (tmp_path / "paths.jsonl").read_text().splitlines()]
    assert sum(path["sights"] for path in paths) > 140, "the other file is whole"


def test_trajectories_go_to_standard_output_and_the_summary_to_standard_error(
    clip: Path, blob_triton: TritonServer
) -> None:
    words = command(clip, blob_triton.grpc, "--trajectories", "-", "--json")
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    assert [json.loads(line)["class_name"] for line in done.stdout.splitlines()].count("red") == 2
    assert json.loads(done.stderr.splitlines()[-1])["frames"] == FRAMES


def test_a_file_that_is_cut_off_prints_its_counts_and_keeps_the_old_files(
    clip: Path, blob_triton: TritonServer, tmp_path: Path
) -> None:
    kept = tmp_path / "paths.jsonl"
    kept.write_text("old")
    source = cut_off(clip, tmp_path / "part.mp4")
    result, errors = count(source, blob_triton.grpc, "--trajectories", kept)
    assert 0 < result["frames"] < FRAMES
    assert "header states" in result["fault"]["message"]
    assert result["fault"]["code"] == "INVALID_ARGUMENT"
    assert "copy the file again" in errors
    assert kept.read_text() == "old"
    assert not list(tmp_path.glob(".countline-*"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_count_of_a_file_prints_what_was_counted_and_keeps_the_old_files(
    blob_triton: TritonServer, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    clip = render(tmp_path / "long.mp4", [Pass(index % 2 == 0) for index in range(60)], pause_s=0.1)
    kept = tmp_path / "paths.jsonl"
    kept.write_text("old")
    words = command(clip, blob_triton.grpc, "--json", "--trajectories", kept, "--annotate", tmp_path / "film.mp4")
    words.append("--progress-json")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_frames(process, 50)
        process.send_signal(number)
        out, errors = process.communicate(timeout=30)
    assert process.returncode == status, errors
    result = json.loads(out)
    assert 50 <= result["frames"] < 2520
    assert result["fault"]["message"] == f"interrupted after {result['frames']} frames"
    assert "Traceback" not in errors
    assert kept.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.mp4", "paths.jsonl"]


def wait_for_frames(process: subprocess.Popen[str], frames: int) -> None:
    """Read `--progress-json` until so many frames are counted."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if (found := re.search(r'"frames": (\d+)', line)) and int(found[1]) >= frames:
            return
    raise AssertionError("".join(seen))


# Streams that break --------------------------------------------------------------------------------------------------


def absence(result: dict, errors: str) -> tuple[float, float]:
    """The first time without frames that the warning names, in seconds from the first frame."""
    message = {each["code"]: each["message"] for each in result["warnings"]}["interrupted"]
    assert f"warning: {message}\n" in errors
    found = re.search(r"no frame was counted from ([\d.]+) s to ([\d.]+) s", message)
    assert found, message
    return float(found[1]), float(found[2])


def test_a_stream_that_comes_back_is_counted_on(
    rtsp: Callable[..., RtspServer], blob_triton: TritonServer, tmp_path: Path
) -> None:
    server = rtsp()
    words = command(
        server.url(),
        blob_triton.grpc,
        *("--json", "--progress-json", "--seconds", 15, "--trajectories", tmp_path / "t"),
    )
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_frames(process, 20)
        server.stop()
        time.sleep(2)
        server.start()
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    result = json.loads(out)
    assert result["frames"] > 60
    assert result["interruptions"] >= 1
    assert 2 <= result["interrupted_s"] < 14
    begin, end = absence(result, errors)
    assert begin > 0.5
    assert 2 <= end - begin < result["interrupted_s"] + 2
    assert "fault" not in result
    assert (tmp_path / "t").exists()


def test_a_stream_that_stays_away_ends_the_count_with_what_was_counted(
    rtsp: Callable[..., RtspServer], blob_triton: TritonServer, tmp_path: Path
) -> None:
    server = rtsp()
    words = command(
        server.url(),
        blob_triton.grpc,
        *("--json", "--progress-json", "--reconnect", 3, "--trajectories", tmp_path / "t"),
    )
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_frames(process, 20)
        server.stop()
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    result = json.loads(out)
    assert result["frames"] >= 20
    assert result["interruptions"] == 1
    assert result["interrupted_s"] > 3
    begin, end = absence(result, errors)
    assert begin == pytest.approx(result["duration_s"], abs=0.2)
    assert end - begin == pytest.approx(result["interrupted_s"], abs=0.2)
    assert "127.0.0.1" in result["fault"]["message"]
    assert f"error: {result['fault']['message']}\nhint: " in errors
    assert (tmp_path / "t").exists(), "the files of a stream are kept: it cannot be counted again"


# A Triton that refuses or falls silent -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refuses",
    [lambda number: number == 10, lambda number: number % 3 == 0, lambda number: 10 <= number < 13],
    ids=["one", "every third", "some in a row"],
)
def test_a_file_loses_no_frame_to_a_refused_request(
    clip: Path, blob_triton: TritonServer, triton_proxy: Proxies, refuses: Callable[[int], bool]
) -> None:
    proxy = triton_proxy(blob_triton.grpc, refuses=refuses)
    result, _ = count(clip, proxy.address, status=0)
    assert (result["frames"], in_and_out(result)) == (FRAMES, (1, 3))


def test_a_file_whose_frames_stay_refused_says_how_many_were_lost(
    clip: Path, blob_triton: TritonServer, triton_proxy: Proxies
) -> None:
    proxy = triton_proxy(blob_triton.grpc, refuses=lambda number: number >= 10)
    result, errors = count(clip, proxy.address)
    assert 0 < result["frames"] < FRAMES
    lost = f"{FRAMES - result['frames']} frames are not counted, because Triton refused them"
    assert lost in result["fault"]["message"]
    assert "refused by the test" in errors


@pytest.mark.parametrize("refused", [0, 10], ids=["silent", "refused once, then silent"])
def test_a_triton_that_falls_silent_ends_the_count(
    clip: Path, blob_triton: TritonServer, triton_proxy: Proxies, refused: int
) -> None:
    proxy = triton_proxy(
        blob_triton.grpc, refuses=lambda number: number == refused, falls_silent=lambda number: number > 10
    )
    result, _ = count(clip, proxy.address)
    assert 0 < result["frames"] < FRAMES
    assert result["fault"]["code"] == "UNAVAILABLE"


@pytest.mark.parametrize("silent_from", [1, 2], ids=["before the count", "when the count loads the model"])
def test_a_triton_that_falls_silent_during_a_load_ends_the_count(
    clip: Path, blob_triton: TritonServer, triton_proxy: Proxies, silent_from: int
) -> None:
    """The first inference has the time limit of a load, 120 s, which came on top of the 60 s of a silent Triton."""
    proxy = triton_proxy(blob_triton.grpc, falls_silent=lambda number: number >= silent_from)
    result, _ = count(clip, proxy.address)
    assert (result["frames"], result["fault"]["code"]) == (0, "UNAVAILABLE")
    assert "gave no answer for" in result["fault"]["message"]
    assert result["fault"]["hint"]


# Secrets -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the folder of the test."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("output", [("--json",), ()], ids=["json", "tables"])
def test_no_password_of_a_source_is_in_what_explains_a_count(
    clip: Path, blob_triton: TritonServer, file_server: str, output: tuple[str, ...]
) -> None:
    address = f"http://admin:SECRET@{file_server}/{clip.name}?loginpas=SECRET&x=1"
    words = command(address, blob_triton.grpc, "--explain", "--progress-json", *output)
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "excursion" in done.stdout, "the gates of a crossing"
    assert "SECRET" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "address",
    ['rtsp://admin:pa"SECRET@127.0.0.1:9/s', "rtsp:/admin:SECRET@127.0.0.1:9/s", "http://127.0.0.1:9/s?auth=SECRET"],
)
def test_no_password_of_a_source_is_in_what_a_failed_count_prints(address: str) -> None:
    words = command(address, "127.0.0.1:9", "--explain", "--json")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["fault"]["code"] in {"UNAVAILABLE", "INVALID_ARGUMENT"}
    assert "SECRET" not in done.stdout + done.stderr
