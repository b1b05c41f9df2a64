"""Joined, damaged and unusual files: all that can be read is read, and what cannot be read is named with its times."""

import contextlib
import http.server
import io
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from tests.fixtures.clips import FPS, Pass, cut_off, render
from tests.fixtures.pipelines.stamps import HZ, restamped

from countline_pipelines.sources import (
    Picture,
    Playback,
    SourceError,
    SourceFailure,
    SourceSpec,
    SourceWarnings,
    VideoReader,
    WarningCode,
    play,
)
from countline_pipelines.sources.errors import CURABLE_BY_WAITING


class Read:
    """A file, read to its end."""

    def __init__(self, path: Path, playback: Playback = Playback.FAST) -> None:
        spec = SourceSpec(str(path), playback)
        self.pictures: list[Picture] = []
        self.error: SourceError | None = None
        warnings = SourceWarnings()
        try:
            with VideoReader(spec, warnings=warnings) as video:
                self.info = video.info
                self.pictures.extend(play(spec, video, threading.Event()))
        except SourceError as error:
            self.error = error
        self.warnings = {each.code: each.message for each in warnings.all()}


def remuxed(source: Path, path: Path, change=lambda packets: packets) -> Path:
    """Write the packets of a clip, changed, into another container."""
    with av.open(str(source)) as whole, av.open(str(path), "w") as container:
        copy = container.add_stream_from_template(whole.streams.video[0])
        for packet in change([each for each in whole.demux(video=0) if each.size]):
            packet.stream = copy
            container.mux(packet)
    return path


def encoded(source: Path, path: Path, codec: str, frames: int = 200, **kept: dict[str, str]) -> Path:
    """Encode the first pictures of a clip with another codec."""
    with av.open(str(source)) as whole, av.open(str(path), "w") as container:
        film = container.add_stream(codec, rate=FPS, **kept)
        film.width, film.height, film.pix_fmt = whole.streams.video[0].width, whole.streams.video[0].height, "yuv420p"
        for index, picture in zip(range(frames), whole.decode(video=0), strict=False):
            picture.pts, picture.time_base, picture.pict_type = index, Fraction(1, FPS), PictureType.NONE
            container.mux(film.encode(picture))
        container.mux(film.encode(None))
    return path


# Joined --------------------------------------------------------------------------------------------------------------


def test_every_recording_of_joined_mp4_files_is_read(clip: Path, tmp_path: Path) -> None:
    """`cat a.mp4 b.mp4`: FFmpeg reads the first half without a word."""
    other = render(tmp_path / "other.mp4", [Pass(True, 0, 0.5)], size=(160, 120))
    both = tmp_path / "both.mp4"
    both.write_bytes(clip.read_bytes() + other.read_bytes())
    read = Read(both)
    assert read.error is None
    assert [each.size_wh for each in read.pictures] == [(320, 240)] * 200 + [(160, 120)] * 20
    assert [round(each.t * FPS) for each in read.pictures] == list(range(220))
    assert (read.info.duration_s, read.info.frames) == (Fraction(11), 220)


def test_an_appended_recording_that_cannot_be_read_is_named(clip: Path, tmp_path: Path) -> None:
    index_last = remuxed(clip, tmp_path / "last.mp4").read_bytes()
    both = tmp_path / "both.mp4"
    both.write_bytes(clip.read_bytes() + index_last[: len(index_last) // 2])
    read = Read(both)
    assert len(read.pictures) == 200
    assert read.error is not None
    assert read.error.failure is SourceFailure.TRUNCATED
    assert read.error.after_pictures
    assert f"from byte {clip.stat().st_size} on" in read.error.message
    assert "10.0 s" in read.error.message


def test_the_rest_of_a_file_at_which_the_demuxer_stops_is_named(clip: Path, tmp_path: Path) -> None:
    single = remuxed(clip, tmp_path / "single.flv").read_bytes()
    both = tmp_path / "both.flv"
    both.write_bytes(single + single)
    read = Read(both)
    assert read.error is not None
    assert "were not read after 10.0 s" in read.error.message


@pytest.mark.parametrize("kind", ["flv", "wmv"])
def test_a_short_recording_that_was_appended_is_named(clip: Path, tmp_path: Path, kind: str) -> None:
    """It was silently left out where it is a small share of the file."""
    single = encoded(clip, tmp_path / f"single.{kind}", "wmv2" if kind == "wmv" else "flv")
    short = encoded(clip, tmp_path / f"short.{kind}", "wmv2" if kind == "wmv" else "flv", frames=10)
    both = tmp_path / f"both.{kind}"
    both.write_bytes(single.read_bytes() + short.read_bytes())
    assert short.stat().st_size < 0.2 * both.stat().st_size
    read = Read(both)
    assert read.error is not None
    assert "were not read after 10.0 s" in read.error.message


def test_a_recording_of_another_codec_that_was_appended_to_a_nut_file_is_named(clip: Path, tmp_path: Path) -> None:
    """FFmpeg gives its packets to the decoder of the first recording, which refuses each of them."""
    short = encoded(clip, tmp_path / "short.nut", "mpeg4", frames=100)
    both = tmp_path / "both.nut"
    both.write_bytes(remuxed(clip, tmp_path / "single.nut").read_bytes() + short.read_bytes())
    read = Read(both)
    assert len(read.pictures) == 200
    message = read.warnings[WarningCode.HOLE]
    begin, end = (float(part.split()[-1]) for part in message.split("read from ")[1].split(" s")[:2])
    assert begin == pytest.approx(10.0, abs=0.1)
    assert end > 12.0  # estimated from the bytes


def test_a_recording_of_another_format_that_was_appended_to_an_mp4_is_named(clip: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.mp4"
    both.write_bytes(clip.read_bytes() + remuxed(clip, tmp_path / "other.mkv").read_bytes())
    read = Read(both)
    assert len(read.pictures) == 200
    assert read.error is not None
    assert f"from byte {clip.stat().st_size} on, were not read after 10.0 s" in read.error.message


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_space_that_a_recorder_reserved_is_no_recording(clip: Path, tmp_path: Path, kind: str) -> None:
    path = remuxed(clip, tmp_path / f"reserved.{kind}")
    path.write_bytes(path.read_bytes() + bytes(2 * path.stat().st_size))
    read = Read(path)
    assert (read.error, read.warnings, len(read.pictures)) == (None, {}, 200)


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_sound_that_goes_on_after_the_video_is_no_appended_recording(clip: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"sound.{kind}"
    with av.open(str(clip)) as whole, av.open(str(path), "w") as container:
        film = container.add_stream_from_template(whole.streams.video[0])
        sound = container.add_stream("aac", rate=48000)
        sound.layout = "mono"
        for packet in whole.demux(video=0):
            if packet.size:
                packet.stream = film
                container.mux(packet)
        noise = np.random.default_rng(3)
        for index in range(25 * 48000 // 1024):
            samples = noise.uniform(-0.5, 0.5, (1, 1024)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, index * 1024, Fraction(1, 48000)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    read = Read(path)
    assert (read.error, read.warnings, len(read.pictures)) == (None, {}, 200)


def test_a_loop_says_that_it_leaves_an_appended_recording_out(clip: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.mp4"
    both.write_bytes(clip.read_bytes() * 2)
    warnings = SourceWarnings()
    with VideoReader(SourceSpec(str(both), Playback.LOOP), warnings=warnings):
        assert [each.code for each in warnings.all()] == [WarningCode.UNREAD]


# Damaged -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "flv"])
@pytest.mark.parametrize("filling", ["zeros", "noise"])
def test_a_hole_in_a_file_is_named_with_its_times(tmp_path: Path, kind: str, filling: str) -> None:
    noise = np.random.default_rng(7)
    film = tmp_path / "film.mp4"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "30", "g": str(FPS), "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for index in range(10 * FPS):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 255, (120, 160, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = bytearray(remuxed(film, tmp_path / f"whole.{kind}").read_bytes())
    start, length = int(len(data) * 0.45), len(data) // 10
    data[start : start + length] = bytes(length) if filling == "zeros" else noise.bytes(length)
    damaged = tmp_path / f"damaged.{kind}"
    damaged.write_bytes(data)
    read = Read(damaged)
    assert read.error is None
    assert 160 < len(read.pictures) < 190
    message = read.warnings[WarningCode.HOLE]
    begin, end = (float(part.split()[-1]) for part in message.split("read from ")[1].split(" s")[:2])
    assert 4.0 < begin < 5.0
    assert 5.0 < end < 7.0
    missing = 200 - len(read.pictures)
    assert end - begin == pytest.approx(missing / FPS, abs=0.2)


def test_an_avi_that_is_cut_off_is_reported(clip: Path, tmp_path: Path) -> None:
    """FFmpeg shortens the duration that the header states; only the number of frames stays."""
    whole = encoded(clip, tmp_path / "whole.avi", "mpeg4")
    assert Read(whole).error is None
    read = Read(cut_off(whole, tmp_path / "part.avi"))
    assert 100 < len(read.pictures) < 180
    assert read.error is not None
    assert "though its header states 10.0 s" in read.error.message


def test_an_asf_file_that_is_cut_off_is_reported(clip: Path, tmp_path: Path) -> None:
    """FFmpeg reports no duration of an ASF file that is shorter than its header states."""
    whole = encoded(clip, tmp_path / "whole.wmv", "wmv2")
    assert Read(whole).error is None
    read = Read(cut_off(whole, tmp_path / "part.wmv"))
    assert 100 < len(read.pictures) < 180
    assert read.error is not None
    assert "though its header states 10.0 s" in read.error.message


@pytest.fixture(scope="module")
def still_wmv(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Five seconds of a box before a still scene: a key frame takes as many bytes as a second of other pictures."""
    path = tmp_path_factory.mktemp("still") / "film.wmv"
    scene = np.random.default_rng(3).integers(0, 255, (240, 320, 3), np.uint8)
    with av.open(str(path), "w") as container:
        film = container.add_stream("wmv2", rate=FPS)
        film.width, film.height, film.pix_fmt = 320, 240, "yuv420p"
        for index in range(5 * FPS):
            picture = scene.copy()
            picture[80:160, 2 * index : 2 * index + 60] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(film.encode(frame))
        container.mux(film.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize("filling", ["zeros", "noise", "cut out"])
@pytest.mark.parametrize(("share", "hole_s"), [(0.1, 0.8), (0.25, 2.0)])
def test_a_hole_in_an_asf_file_is_named_with_its_times(
    still_wmv: bytes, tmp_path: Path, filling: str, share: float, hole_s: float
) -> None:
    """An ASF file states no durations of pictures, so a hole of seconds looked like a picture that is held."""
    start, length = int(len(still_wmv) * 0.35), int(len(still_wmv) * share)
    filled = {"zeros": bytes(length), "noise": np.random.default_rng(7).bytes(length), "cut out": b""}[filling]
    damaged = tmp_path / "damaged.wmv"
    damaged.write_bytes(still_wmv[:start] + filled + still_wmv[start + length :])
    read = Read(damaged)
    assert read.error is None
    missing = 5 * FPS - len(read.pictures)
    assert missing / FPS == pytest.approx(hole_s, abs=0.6)
    begin, end = times_of_hole(read)
    assert end - begin == pytest.approx(missing / FPS, abs=0.15)
    assert read.pictures[-1].t == pytest.approx(5.0 - 1 / FPS, abs=0.01)


@pytest.mark.parametrize("codec", ["wmv2", "mpeg4"])
def test_a_picture_that_an_asf_file_holds_is_no_hole(clip: Path, tmp_path: Path, codec: str) -> None:
    path = tmp_path / "held.wmv"
    with av.open(str(clip)) as whole, av.open(str(path), "w") as container:
        film = container.add_stream(codec, rate=FPS)
        film.width, film.height, film.pix_fmt = 320, 240, "yuv420p"
        film.codec_context.time_base = Fraction(1, FPS)
        for index, picture in zip(range(60), whole.decode(video=0), strict=False):
            picture.pts, picture.pict_type = index + (25 if index >= 40 else 0), PictureType.NONE
            picture.time_base = Fraction(1, FPS)
            container.mux(film.encode(picture))
        container.mux(film.encode(None))
    read = Read(path)
    assert (read.error, list(read.warnings)) == (None, [])
    assert read.pictures[-1].t == pytest.approx(84 / FPS, abs=0.01)


def test_a_short_hole_in_a_transport_stream_is_named(clip: Path, tmp_path: Path) -> None:
    data = remuxed(clip, tmp_path / "whole.ts").read_bytes()
    damaged = tmp_path / "damaged.ts"
    start = len(data) * 45 // 100 // 188 * 188
    damaged.write_bytes(data[:start] + data[start + 6 * 188 :])
    read = Read(damaged)
    assert 2 < 200 - len(read.pictures) < 10, "less than half a second"
    assert WarningCode.HOLE in read.warnings


def times_of_hole(read: Read) -> tuple[float, float]:
    begin, end = read.warnings[WarningCode.HOLE].split("read from ")[1].split(" s")[:2]
    return float(begin.split()[-1]), float(end.split()[-1])


def without(path: Path, share: float, filling: str) -> Path:
    """Damage a file at 45 % of its bytes."""
    data = path.read_bytes()
    start, length = int(len(data) * 0.45), int(len(data) * share)
    path.write_bytes(data[:start] + (bytes(length) if filling == "zeros" else b"") + data[start + length :])
    return path


@pytest.mark.parametrize(
    ("kind", "codec", "filling"),
    [("avi", "mpeg4", "zeros"), ("mpg", "mpeg2video", "zeros"), ("mpg", "mpeg2video", "cut out")],
)
def test_a_hole_of_some_pictures_is_named(clip: Path, tmp_path: Path, kind: str, codec: str, filling: str) -> None:
    """A hole below half a second was silent. The index of an AVI, and the one rate of MPEG video, show it."""
    path = encoded(clip, tmp_path / f"film.{kind}", codec, options={"g": "2"})
    assert Read(path).warnings == {}
    read = Read(without(path, 0.015, filling))
    missing = 200 - len(read.pictures)
    assert 2 <= missing < 10
    begin, end = times_of_hole(read)
    assert 3.5 < begin < 5.0
    assert end - begin == pytest.approx(missing / FPS, abs=0.11)


def test_pictures_that_were_cut_out_of_an_avi_are_told_though_the_file_does_not_show_where(
    clip: Path, tmp_path: Path
) -> None:
    """Everything after them was dated too early without a word."""
    read = Read(without(encoded(clip, tmp_path / "film.avi", "mpeg4", options={"g": "2"}), 0.02, "cut out"))
    missing = 200 - len(read.pictures)
    assert read.error is None
    assert 2 <= missing < 10
    assert f"{missing} of the pictures that its header states could not be read" in read.warnings[WarningCode.HOLE]
    assert f"up to {missing / FPS:.1f} s too early" in read.warnings[WarningCode.HOLE]


def test_a_picture_that_an_avi_holds_is_no_hole(clip: Path, tmp_path: Path) -> None:
    """A recorder writes an empty chunk for each picture that is like the one before."""

    def held(packets):
        for packet in packets[100:]:
            packet.pts, packet.dts = packet.pts + 7, packet.dts + 7
        return packets

    whole = encoded(clip, tmp_path / "whole.avi", "mpeg4", options={"g": "2"})
    read = Read(remuxed(whole, tmp_path / "held.avi", held))
    assert (read.error, read.warnings, len(read.pictures)) == (None, {}, 200)
    assert read.pictures[-1].t == pytest.approx(206 / FPS)


def test_pictures_after_a_hole_of_an_avi_keep_their_times(clip: Path, tmp_path: Path) -> None:
    """FFmpeg numbers the packets that it reads, so everything after a hole was dated too early."""
    whole = encoded(clip, tmp_path / "whole.avi", "mpeg4")
    data = bytearray(whole.read_bytes())
    start, length = int(len(data) * 0.45), len(data) // 10
    data[start : start + length] = bytes(length)
    damaged = tmp_path / "damaged.avi"
    damaged.write_bytes(data)
    read = Read(damaged)
    assert (read.error, list(read.warnings)) == (None, [WarningCode.HOLE])
    assert len(read.pictures) < 195
    assert read.pictures[-1].t == pytest.approx(10.0 - 1 / FPS, abs=0.01)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
def test_a_long_hole_takes_its_time_and_is_no_jump(tmp_path: Path, kind: str) -> None:
    """It was bridged as if the clock had been set, so that everything after it was dated too early."""
    film = render(tmp_path / "film.mp4", [Pass(to_right=True)] * 16)
    data = bytearray(remuxed(film, tmp_path / f"whole.{kind}").read_bytes())
    start, length = int(len(data) * 0.35), len(data) // 4
    data[start : start + length] = bytes(length)
    damaged = tmp_path / f"damaged.{kind}"
    damaged.write_bytes(data)
    read = Read(damaged)
    assert list(read.warnings) == [WarningCode.HOLE]
    times = [picture.t for picture in read.pictures]
    assert times[-1] == pytest.approx(40.0 - 1 / FPS, abs=0.1)
    assert max(later - earlier for earlier, later in pairwise(times)) > 5.0
    assert read.pictures[-1].stamps.is_clean


def test_recordings_that_were_joined_in_mid_stream_are_not_hours_apart(tmp_path: Path) -> None:
    """Packets at the joint cannot be decoded, but none is missing: the clock was set, as the files show."""
    film = remuxed(render(tmp_path / "film.mp4", [Pass(to_right=True)] * 4), tmp_path / "film.ts")
    later = restamped(film, tmp_path / "later.ts", lambda _, pts: pts + 3600 * HZ)
    joined = tmp_path / "joined.ts"
    cut = (film.stat().st_size // 2 + 500, later.stat().st_size // 2 + 500)
    joined.write_bytes(film.read_bytes()[: cut[0]] + later.read_bytes()[cut[1] :])
    read = Read(joined)
    assert WarningCode.HOLE not in read.warnings
    assert read.pictures[-1].t < 12.0
    assert read.pictures[-1].stamps.jumps == 1


def test_a_whole_file_has_no_hole_though_a_picture_is_held(clip: Path, tmp_path: Path) -> None:
    """A screen recording sends no picture while nothing changes; its container states how long each is shown."""

    def held(packets):
        for packet in packets[100:]:
            packet.pts += 60 * packet.duration
            packet.dts += 60 * packet.duration
        return packets

    for path in (clip, remuxed(clip, tmp_path / "held.mp4", held)):
        read = Read(path)
        assert (read.error, read.warnings) == (None, {})
        assert len(read.pictures) == 200


def test_a_last_picture_that_is_held_ends_its_file(clip: Path, tmp_path: Path) -> None:
    """It ended a complete file as cut off: the end of a file is its last picture plus that picture's duration."""

    def held(packets):
        packets[-1].duration = int(3 / packets[-1].time_base)
        return packets

    read = Read(remuxed(clip, tmp_path / "tail.mp4", held))
    assert read.error is None
    assert len(read.pictures) == 200
    assert read.info.duration_s == pytest.approx(12.95)


# Unusual -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_the_track_that_moves_is_read(clip: Path, tmp_path: Path, kind: str) -> None:
    """A film whose first track is a cover picture counted zero without a word."""
    path = tmp_path / f"film.{kind}"
    with av.open(str(clip)) as whole, av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        film = container.add_stream_from_template(whole.streams.video[0])
        container.mux(cover.encode(av.VideoFrame(64, 64, "yuvj420p")))
        container.mux(cover.encode(None))
        for packet in whole.demux(video=0):
            if packet.size:
                packet.stream = film
                container.mux(packet)
    read = Read(path)
    assert len(read.pictures) == 200
    assert "video track 1 is read" in read.warnings[WarningCode.OTHER_TRACK]


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
def test_the_last_pictures_are_read_though_the_video_is_not_the_first_track(tmp_path: Path, kind: str) -> None:
    """A decoder keeps pictures back for B-frames; the last ones of a film behind its sound were lost without a word."""
    path = tmp_path / f"film.{kind}"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        video = container.add_stream("libx264", rate=FPS, options={"bf": "3", "b-adapt": "0"})
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        for number in range(2 * 48):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts = 48_000, number * 1000
            container.mux(sound.encode(samples))
        for number in range(2 * FPS):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 3 * number, np.uint8), "rgb24")))
        container.mux(sound.encode(None))
        container.mux(video.encode(None))
    assert [picture.t for picture in Read(path).pictures] == pytest.approx([n / FPS for n in range(2 * FPS)], abs=0.02)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_pictures_of_an_avi_with_b_frames_keep_their_times(clip: Path, tmp_path: Path, codec: str) -> None:
    """AVI has no presentation times: those that FFmpeg makes up went back and forth, and stretched time."""
    read = Read(encoded(clip, tmp_path / "film.avi", codec, options={"bf": "2", "g": "50"}))
    assert read.error is None
    assert not read.warnings
    times = [picture.t for picture in read.pictures]
    assert times == pytest.approx([index / FPS for index in range(200)])
    assert read.pictures[-1].stamps.is_clean


def test_a_file_without_a_container_says_which_rate_is_assumed(clip: Path, tmp_path: Path) -> None:
    def without_times(path: Path, bitstream_filter: str) -> Path:
        with av.open(str(clip)) as whole:
            context = av.bitstream.BitStreamFilterContext(bitstream_filter, whole.streams.video[0])
            packets = [part for each in whole.demux(video=0) for part in context.filter(each if each.size else None)]
            path.write_bytes(b"".join(bytes(packet) for packet in packets))
        return path

    stated = Read(without_times(tmp_path / "stated.h264", "h264_mp4toannexb"))
    assert "20 frames per second are assumed, as its header states" in stated.warnings[WarningCode.ASSUMED_RATE]
    assert stated.pictures[-1].t == pytest.approx(199 / 20)


def between_key_frames(clip: Path, path: Path) -> bytes:
    """Write a clip of 60 frames with one key frame, from its second frame on, and return its bytes."""
    dense = path.with_suffix(".dense.mp4")
    with av.open(str(clip)) as whole, av.open(str(dense), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"g": "400", "bf": "0", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index, frame in enumerate(whole.decode(video=0)):
            if index == 60:
                break
            frame.pts, frame.time_base, frame.pict_type = index, Fraction(1, FPS), 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    remuxed(dense, path, lambda packets: packets[1:])
    return path.read_bytes()


@contextlib.contextmanager
def trickle(first: bytes, then: bytes, pause_s: float) -> Iterator[str]:
    """Serve a stream over HTTP: a part that comes slowly, then the rest."""

    class Slow(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            parts = io.BytesIO(first)
            with contextlib.suppress(OSError):
                while part := parts.read(max(188, len(first) // 50 // 188 * 188)):
                    self.wfile.write(part)
                    time.sleep(pause_s)
                self.wfile.write(then)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/live.ts"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_stream_that_is_joined_between_key_frames_is_waited_for(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was `pictures have no size`, a fault that a person has to mend; a camera may send a key frame in 20 s only."""
    monkeypatch.setattr("countline_pipelines.sources.reading.watch._SAY_AFTER_S", 0.2)
    late = between_key_frames(clip, tmp_path / "late.ts")
    whole = remuxed(clip, tmp_path / "whole.ts").read_bytes()
    said: list[WarningCode] = []
    with trickle(late, whole, 0.02) as url:
        warnings = SourceWarnings(lambda warning: said.append(warning.code))
        spec = SourceSpec(url, Playback.LIVE)
        with VideoReader(spec, warnings=warnings) as video:
            assert (video.info.width, video.info.height) == (320, 240)
            assert next(play(spec, video, threading.Event())).size_wh == (320, 240)
        assert said == [WarningCode.NO_KEY_FRAME]
        assert warnings.all() == ()


def test_a_stream_without_a_key_frame_fails_for_a_cause_that_may_pass(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("countline_pipelines.sources.reading.watch.KEY_FRAME_WITHIN_S", 0.3)
    monkeypatch.setattr("countline_pipelines.sources.reading.watch._SAY_AFTER_S", 0.1)
    late = between_key_frames(clip, tmp_path / "late.ts")
    with trickle(late * 20, b"", 0.05) as url, pytest.raises(SourceError) as raised:
        VideoReader(SourceSpec(url, Playback.LIVE))
    assert raised.value.failure is SourceFailure.NO_KEY_FRAME
    assert "no key frame within 0.3 s" in raised.value.message
    assert raised.value.failure in CURABLE_BY_WAITING


def test_video_that_begins_after_its_sound_is_whole(clip: Path, tmp_path: Path) -> None:
    """FFmpeg's probe ends before the first picture, so the header states no size: it was `pictures have no size`."""
    path = tmp_path / "late.ts"
    with av.open(str(clip)) as whole, av.open(str(path), "w") as container:
        film = container.add_stream_from_template(whole.streams.video[0])
        sound = container.add_stream("mp2", rate=48000)
        sound.layout = "mono"
        for index in range(int(18 * 48000 / 1152)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, index * 1152, Fraction(1, 48000)
            container.mux(sound.encode(frame))
        for packet in whole.demux(video=0):
            if packet.size:
                packet.stream = film
                packet.pts += int(8 / packet.time_base)
                packet.dts += int(8 / packet.time_base)
                container.mux(packet)
    read = Read(path)
    assert (read.error, read.warnings) == (None, {})
    assert len(read.pictures) == 200
    assert (read.info.width, read.info.height, read.info.fps) == (320, 240, FPS)
