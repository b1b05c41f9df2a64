"""When frames of sources with faulty timestamps were captured: real files, real servers."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import pytest
from tests.fixtures.clips import FPS, Pass, render
from tests.fixtures.pipelines.raw_rtsp import RawRtspCamera
from tests.fixtures.pipelines.stamps import HZ, HttpCamera, jpegs, multipart, restamped, segments
from tests.fixtures.rtsp import RtspServer

from countline_pipelines.sources import Picture, Playback, SourceError, SourceFailure, SourceSpec, VideoReader, play

HOUR = 3600 * HZ
FAULTS: dict[str, Callable[[int, int], int]] = {
    "glitch_future": lambda n, t: t + (10 * HOUR if n % 20 == 10 else 0),
    "glitch_past": lambda n, t: t + 600 * HZ - (300 * HZ if n % 20 == 10 else 0),
    "jump_forward": lambda n, t: t + (10 * HOUR if n >= 20 else 0),
    "jump_back": lambda n, t: t + 1000 * HZ - (900 * HZ if n >= 20 else 0),
    "jitter_back": lambda n, t: t + 600 * HZ - (5000 if n % 3 == 1 else 0),
    "pairs": lambda n, t: t - (HZ // FPS if n % 2 else 0),
    "wrap": lambda _, t: t - 126_000 + (1 << 33) - HZ,
}


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("stream") / "stream.ts", [Pass(True)])


def pictures(spec: SourceSpec, seconds: float = 1000.0) -> list[Picture]:
    found, stop, began = [], threading.Event(), time.monotonic()
    with VideoReader(spec) as video:
        for picture in play(spec, video, stop):
            found.append(picture)
            if time.monotonic() - began > seconds:
                break
    return found


def test_timestamps_that_were_set_back_are_reported_with_direction_and_size(stream: Path, tmp_path: Path) -> None:
    """FFmpeg adds a turn of the counter of 33 bits: it was +94543.7 s."""
    faulty = restamped(stream, tmp_path / "faulty.ts", FAULTS["jump_back"])
    stamps = pictures(SourceSpec(str(faulty), Playback.FAST))[-1].stamps
    assert (stamps.jumps, stamps.first_jump_s) == (1, pytest.approx(-900, abs=0.1))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_with_faulty_timestamps_has_the_times_of_its_frames(stream: Path, tmp_path: Path, fault: str) -> None:
    """24 s of a recording were spread over five days."""
    faulty = restamped(stream, tmp_path / "faulty.ts", FAULTS[fault])
    found = pictures(SourceSpec(str(faulty), Playback.FAST, recorded_at=1000.0))
    assert [picture.t - 1000.0 for picture in found] == pytest.approx([n / FPS for n in range(50)], abs=0.02)


def test_a_file_in_real_time_does_not_wait_for_a_timestamp_hours_away(stream: Path, tmp_path: Path) -> None:
    """It was `running`, with 0 frames a second, for ten hours."""

    def played(fault: str) -> tuple[str, int, float]:
        faulty = restamped(stream, tmp_path / f"{fault}.ts", FAULTS[fault])
        began = time.monotonic()
        found = pictures(SourceSpec(str(faulty), Playback.REALTIME))
        return fault, len(found), time.monotonic() - began

    with ThreadPoolExecutor(len(FAULTS)) as pool:
        for fault, frames, took_s in pool.map(played, FAULTS):
            assert frames == 50, fault
            assert 2.3 < took_s < 20, fault


def test_a_file_whose_times_lead_nowhere_is_not_looped(stream: Path, tmp_path: Path) -> None:
    faulty = restamped(stream, tmp_path / "faulty.ts", FAULTS["jump_forward"])
    with pytest.raises(SourceError, match="cannot be looped") as raised:
        pictures(SourceSpec(str(faulty), Playback.LOOP))
    assert raised.value.failure is SourceFailure.NOT_VIDEO
    assert raised.value.hint


@pytest.mark.parametrize("fps", [10, 30])
def test_a_camera_on_http_is_dated_by_when_it_sends(stream: Path, fps: int) -> None:
    """Multipart JPEG has no timestamps. FFmpeg makes them up at 25 frames a second: 10 ran at 0.4 of the time."""
    with HttpCamera(jpegs(stream), fps) as camera:
        found = pictures(SourceSpec(camera.url("/mjpeg"), Playback.LIVE), seconds=5)
        errors = [picture.t - sent for picture, sent in zip(found, camera.sent_at, strict=False)]
    assert len(found) > 3 * fps
    assert sorted(map(abs, errors))[len(errors) * 9 // 10] < 0.5, "a busy machine delays some"
    assert found[-1].t - found[0].t == pytest.approx((len(found) - 1) / fps, abs=0.3)


def without_length(picture: bytes) -> bytes:
    return b"--frame\nContent-Type: image/jpeg\n\n" + picture + b"\n"


@pytest.mark.parametrize(
    ("written", "preamble"),
    [
        (multipart, b"one moment, please\r\n"),
        (partial(multipart, line=b"frame"), b""),
        (partial(multipart, end=b"\n"), b"\n\n"),
        (partial(multipart, kind=b"Content-Type: image/jpg"), b""),
        (partial(multipart, kind=b"content-type :  IMAGE/JPEG ; q=1"), b""),
        (partial(multipart, kind=b"X-Camera: door"), b""),
        (without_length, b""),
        (lambda picture: picture, b""),
    ],
    ids=["preamble", "no dashes", "bare LF", "image/jpg", "odd blanks", "no type", "bare LF, no length", "no parts"],
)
def test_pictures_on_http_are_read_however_a_camera_writes_their_parts(
    stream: Path, written: Callable[[bytes], bytes], preamble: bytes
) -> None:
    with HttpCamera(jpegs(stream), 25, written=written, preamble=preamble) as camera:
        spec = SourceSpec(camera.url("/mjpeg"), Playback.LIVE, open_timeout_s=3)
        with VideoReader(spec) as video:
            found = list(islice(play(spec, video, threading.Event()), 40))
        errors = [picture.t - sent for picture, sent in zip(found, camera.sent_at, strict=False)]
    assert len(found) == 40
    assert sum(map(abs, errors)) / len(errors) < 0.5


class FalseLength:
    """Writes pictures as parts; every so many parts, the stated length is wrong."""

    def __init__(self, length: Callable[[int], int], every: int = 1) -> None:
        self._length, self._every, self._written = length, every, 0

    def __call__(self, picture: bytes) -> bytes:
        self._written += 1
        if self._written % self._every:
            return multipart(picture)
        stated = b"Content-Length: %d\r\n" % self._length(len(picture))
        return b"--frame\r\nContent-Type: image/jpeg\r\n" + stated + b"\r\n" + picture + b"\r\n"


@pytest.mark.parametrize(
    "written",
    [
        FalseLength(lambda right: right + 30),
        FalseLength(lambda right: 2 * right),
        FalseLength(lambda right: 2 * right, every=7),
        FalseLength(lambda right: right // 2, every=7),
        FalseLength(lambda right: right + 10_000_000, every=7),
    ],
    ids=["more", "twice", "sometimes twice", "sometimes half", "sometimes far more"],
)
def test_pictures_on_http_are_read_though_their_stated_lengths_are_wrong(stream: Path, written: FalseLength) -> None:
    """FFmpeg took the next pictures for the end of one, found no boundary behind it, and gave up after one picture."""
    with HttpCamera(jpegs(stream), 25, written=written) as camera:
        spec = SourceSpec(camera.url("/mjpeg"), Playback.LIVE, open_timeout_s=3, read_timeout_s=2)
        with VideoReader(spec) as video:
            found = list(islice(play(spec, video, threading.Event()), 60))
    assert len(found) == 60
    assert sum(after.t - before.t > 0.5 for before, after in pairwise(found)) <= 1, "while it waited for the bytes"


def test_a_page_is_no_video_however_long_it_is(stream: Path) -> None:
    with (
        HttpCamera(jpegs(stream), written=lambda _: b"<p>Log in.</p>\n" * 100) as camera,
        pytest.raises(SourceError) as raised,
    ):
        pictures(SourceSpec(camera.url("/mjpeg"), Playback.LIVE, open_timeout_s=3))
    assert raised.value.failure in {SourceFailure.NOT_VIDEO, SourceFailure.TIMED_OUT}


def test_hls_whose_segments_all_begin_at_the_same_timestamp_goes_on_evenly(tmp_path: Path) -> None:
    clip = render(tmp_path / "clip.mp4", [Pass(True), Pass(False)])
    with HttpCamera(parts=segments(clip, FPS), part_s=1.0) as camera:
        found = pictures(SourceSpec(camera.url("/live.m3u8"), Playback.LIVE), seconds=5)
    steps = [after.t - before.t for before, after in pairwise(found)]
    assert found[-1].t - found[0].t > 4
    assert sum(steps) / len(steps) == pytest.approx(1 / FPS, rel=0.05)
    assert sum(abs(step - 1 / FPS) > 0.02 for step in steps) <= 3


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("long") / "clip.mp4", [Pass(bool(n % 2)) for n in range(8)])


def test_hls_whose_timestamps_run_at_a_wrong_pace_is_dated_by_when_its_segments_come(long_clip: Path) -> None:
    """A camera that sends 10 frames a second. Stamped as 5, it lagged without limit, and segments were lost."""

    def played(stamped_fps: int) -> list[Picture]:
        parts = segments(long_clip, 10, stamped_fps)
        with HttpCamera(parts=parts, part_s=1.0, stated_s=10 / stamped_fps) as camera:
            return pictures(SourceSpec(camera.url("/live.m3u8"), Playback.LIVE), seconds=22)

    with ThreadPoolExecutor() as pool:
        for stamped_fps, found in zip((5, 25), pool.map(played, (5, 25)), strict=True):
            assert found[-1].stamps.jumps == 0, "no segment was lost"
            assert found[-1].stamps.rate == pytest.approx(stamped_fps / 10, rel=0.1)
            late = [picture.t - picture.ordinal / 10 for picture in found if picture.t > found[-1].t - 4]
            assert max(late) - min(late) < 1.0


def test_a_camera_that_stamps_25_and_sends_10_is_dated_by_when_it_sends(rtsp: Callable[..., RtspServer]) -> None:
    """It was up to five seconds off, and jumped."""
    spec = SourceSpec(rtsp().url("/nominal"), Playback.LIVE)
    lags: list[float] = []
    with VideoReader(spec) as video:
        latest = time.monotonic() + 90  # usually after 6 s; on a loaded machine, camera and reader stall
        for picture in play(spec, video, threading.Event()):
            lags.append(time.time() - picture.t)
            is_paced = picture.stamps.rate == pytest.approx(2.5, rel=0.1)
            if (is_settled := len(lags) > 60 and is_paced and max(lags[-20:]) < 0.5) or time.monotonic() > latest:
                break
    assert is_settled, (picture.stamps, lags[-20:])
    # A stall delays the frames behind it, but not all of a second; a wrong pace does.
    assert max(min(lags[begin : begin + 10]) for begin in range(0, len(lags) - 9, 10)) < 2.0


STUCK: dict[str, Callable[[int], int]] = {
    "from the first picture": lambda _: 4711,
    "later": lambda n: min(n, 30) * HZ // 10,
    "every second": lambda n: n // 10 * HZ,
}
"""RTP timestamps that stand still, given the number of a picture; ten pictures a second."""


def test_an_rtsp_camera_whose_time_stands_still_is_dated_by_when_it_sends(stream: Path) -> None:
    """A stuck RTP clock dated every picture one period after the last one that had a time, and counted 2/1 of 1/1."""

    def played(fault: str) -> tuple[str, list[Picture], list[float]]:
        with RawRtspCamera(stream, 10.0, STUCK[fault]) as camera:
            return fault, pictures(SourceSpec(camera.url, Playback.LIVE), seconds=9), camera.sent_at

    with ThreadPoolExecutor(len(STUCK)) as pool:
        for fault, found, sent_at in pool.map(played, STUCK):
            assert found[-1].ordinal == len(found) - 1 > 60, fault
            assert all(before.t < after.t for before, after in pairwise(found)), fault
            late = [picture.t - sent_at[picture.ordinal] for picture in found]
            assert max(map(abs, late)) < 2.0, fault
            assert max(map(abs, late[-20:])) < 0.6, fault
