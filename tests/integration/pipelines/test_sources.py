"""Sources against real servers and real files: what they give, and what they say when something is wrong.

All of it with the CPU's decoder and with the GPU's, by the stand-in for NVIDIA's driver (test_nvdec.py): a source
behaves the same with both.
"""

import contextlib
import functools
import http.server
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import av
import pytest
from tests.fixtures.clips import FPS, Pass, cut_off, render
from tests.fixtures.rtsp import RtspServer

from countline_common.errors import InvalidInputError
from countline_pipelines.cli.count import _probe
from countline_pipelines.sources import (
    DecodeMode,
    Picture,
    Playback,
    RtspTransport,
    SourceError,
    SourceFailure,
    SourceSpec,
    SourceWarnings,
    VideoReader,
    decoding_of,
    play,
    source_address,
)

Rtsp = Callable[..., RtspServer]


@pytest.fixture(params=["cpu", "nvdec"], autouse=True)
def _decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test twice, its readers with the CPU and with the GPU alone, where a picture of the CPU is an error."""
    if request.param == "nvdec":
        request.getfixturevalue("nvdec")
        reader = functools.partial(VideoReader, decoding=decoding_of(DecodeMode.NVDEC))
        monkeypatch.setattr(request.module, "VideoReader", reader)


def pictures(spec: SourceSpec, most: int = 100_000) -> list[Picture]:
    """The pictures of a source, without keeping their pixels."""
    found = []
    stop = threading.Event()
    with VideoReader(spec) as video:
        for picture in play(spec, video, stop):
            found.append(picture)
            if len(found) == most:
                stop.set()
                break
    return found


def failure(spec: SourceSpec) -> SourceError:
    with pytest.raises(SourceError) as raised:
        pictures(spec)
    assert raised.value.hint
    return raised.value


def fast(path: Path | str) -> SourceSpec:
    return SourceSpec(str(path), Playback.FAST)


def live(url: str, **more: object) -> SourceSpec:
    return SourceSpec(url, Playback.LIVE, open_timeout_s=5.0, read_timeout_s=2.0, **more)  # type: ignore[arg-type]


def test_a_file_gives_every_frame_with_its_time(clip: Path) -> None:
    found = pictures(SourceSpec(str(clip), Playback.FAST, recorded_at=1000.0))
    assert len(found) == 200
    assert [round(picture.t - 1000.0, 6) for picture in found] == [round(index / FPS, 6) for index in range(200)]
    assert [picture.ordinal for picture in found] == list(range(200))
    assert {picture.size_wh for picture in found} == {(320, 240)}


def test_a_file_at_real_time_takes_its_time(tmp_path: Path) -> None:
    short = render(tmp_path / "short.mp4", [Pass(True, 0, 0.5)])
    began = time.monotonic()
    assert len(pictures(SourceSpec(str(short), Playback.REALTIME))) == 20
    assert 0.9 < time.monotonic() - began < 10  # a second, on a machine that is busy


def test_a_loop_has_no_gap_at_its_seam_and_keeps_step_with_the_clock(tmp_path: Path) -> None:
    short = render(tmp_path / "short.mp4", [Pass(True, 0, 0.5)])
    found = pictures(SourceSpec(str(short), Playback.LOOP), most=50)
    steps = {round(after.t - before.t, 6) for before, after in pairwise(found)}
    assert steps == {1 / FPS}
    assert all(abs(picture.t * FPS - round(picture.t * FPS)) < 1e-4 for picture in found)
    assert abs(found[-1].t - time.time()) < 2


@pytest.mark.parametrize("transport", list(RtspTransport))
def test_rtsp_is_read_over_tcp_and_udp_with_capture_times_of_now(rtsp: Rtsp, transport: RtspTransport) -> None:
    found = pictures(live(rtsp().url(), transport=transport), most=40)
    steps = [after.t - before.t for before, after in pairwise(found)]
    assert all(step > 0 for step in steps)
    assert abs(sum(steps[10:]) / len(steps[10:]) - 1 / FPS) < 0.01
    assert 0 <= time.time() - found[-1].t < 5


def test_a_wrong_password_is_distinguished_from_an_absent_camera_and_never_repeated(rtsp: Rtsp) -> None:
    server = rtsp(with_password=True)
    assert len(pictures(live(server.url()), most=3)) == 3
    error = failure(live(server.url(login="viewer:a-wrong-word")))
    assert error.failure is SourceFailure.UNAUTHORIZED
    assert "a-wrong-word" not in f"{error} {error.hint} {error.__cause__} {error.__context__ and ''}"
    server.stop()
    assert failure(live(server.url())).failure is SourceFailure.UNREACHABLE


def test_a_camera_that_falls_silent_is_noticed_by_a_deadline(rtsp: Rtsp) -> None:
    server = rtsp()
    spec = live(server.url())
    with VideoReader(spec) as video:
        found = play(spec, video, threading.Event())
        for _ in range(10):
            next(found)
        server.freeze()
        began = time.monotonic()
        with pytest.raises(SourceError) as raised:
            list(found)
    assert raised.value.failure is SourceFailure.TIMED_OUT
    assert time.monotonic() - began < 3 * spec.read_timeout_s + 4  # noticing it, and hanging up


def test_a_host_that_accepts_and_says_nothing_is_given_up_by_a_deadline() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        port = mute.getsockname()[1]
        for scheme in ("rtsp", "http"):
            began = time.monotonic()
            spec = SourceSpec(f"{scheme}://127.0.0.1:{port}/x", Playback.LIVE, open_timeout_s=1.0)
            assert failure(spec).failure is SourceFailure.TIMED_OUT
            assert time.monotonic() - began < 10


@contextlib.contextmanager
def http_server(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path.startswith("/private"):
                self.send_error(401)
                return
            super().do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_http_and_hls_are_read(clip: Path, tmp_path: Path) -> None:
    with av.open(str(clip)) as whole, av.open(str(tmp_path / "list.m3u8"), "w", options={"hls_time": "2"}) as playlist:
        copy = playlist.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                playlist.mux(packet)
    with http_server(tmp_path) as url:
        assert len(pictures(fast(f"{url}/clip.mp4"))) == 200
        assert len(pictures(fast(f"{url}/list.m3u8"))) == 200
        live_hls = pictures(live(f"{url}/list.m3u8"), most=30)
        assert failure(live(f"{url}/missing.m3u8")).failure is SourceFailure.NOT_FOUND
        assert failure(live(f"{url}/private.m3u8")).failure is SourceFailure.UNAUTHORIZED
    # A segment comes at once; it is played at the pace it was recorded.
    steps = [after.t - before.t for before, after in pairwise(live_hls)]
    assert 0.9 / FPS < sum(steps) / len(steps) < 1.1 / FPS


def test_a_file_over_http_that_states_no_duration_has_an_end(clip: Path, tmp_path: Path) -> None:
    """It was counted as a stream: at its end it was opened again, until `--reconnect` was over."""
    with av.open(str(clip)) as whole, av.open(str(tmp_path / "live.mkv"), "w", options={"live": "1"}) as recording:
        copy = recording.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                recording.mux(packet)
    with http_server(tmp_path) as url:
        spec, info = _probe(f"{url}/live.mkv", RtspTransport.TCP, 0.0, SourceWarnings())
        assert info.duration_s is None
        assert spec.playback is Playback.FAST
        assert len(pictures(spec)) == 200


def test_a_truncated_file_gives_what_it_has_and_says_so(clip: Path, tmp_path: Path) -> None:
    part = cut_off(clip, tmp_path / "part.mp4")
    found: list[Picture] = []
    with VideoReader(fast(part)) as video, pytest.raises(SourceError) as raised:
        found.extend(play(fast(part), video, threading.Event()))
    assert raised.value.failure is SourceFailure.TRUNCATED
    assert "10.0 s" in raised.value.message
    assert 50 < len(found) < 190 or found == []


def test_a_recording_whose_index_was_never_written_is_called_truncated(clip: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.mp4"
    with av.open(str(clip)) as whole, av.open(str(part), "w") as slow:  # the index comes last here
        copy = slow.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                slow.mux(packet)
    assert failure(fast(cut_off(part, tmp_path / "cut.mp4"))).failure is SourceFailure.TRUNCATED


def test_what_is_no_video_is_distinguished(clip: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("words, and nothing but words\n" * 50)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    sound = tmp_path / "sound.wav"
    sound.write_bytes(_wav())
    for path in (words, empty, sound, tmp_path):
        assert failure(fast(path)).failure is SourceFailure.NOT_VIDEO, path
    assert failure(fast(tmp_path / "missing.mp4")).failure is SourceFailure.NOT_FOUND


def _wav() -> bytes:
    data = b"\0\0" * 8000
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16,
                       b"data", len(data))  # fmt: skip
    return head + data


def test_a_codec_without_a_decoder_is_named_as_such(clip: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.mp4"
    strange.write_bytes(clip.read_bytes().replace(b"avc1", b"zzzz"))
    assert failure(fast(strange)).failure is SourceFailure.CODEC_MISSING


def test_pictures_without_a_size_are_named_as_such(clip: Path, tmp_path: Path) -> None:
    """The container says 0x0, and the codec's headers, which would say better, are missing."""
    data = bytearray(clip.read_bytes())
    entry, header = data.find(b"avc1", data.find(b"stsd")), data.find(b"avcC")
    data[entry + 28 : entry + 32] = b"\0\0\0\0"  # width and height
    data[header + 9] = 0xE0  # no sequence parameter sets
    parameters = bytes(data[header + 12 : header + 12 + int.from_bytes(data[header + 10 : header + 12])])
    zero = tmp_path / "zero.mp4"
    zero.write_bytes(data.replace(parameters, b"\x0c" * len(parameters)))  # filler where pictures repeat them
    assert failure(fast(zero)).failure is SourceFailure.BAD_PICTURE


def test_a_change_of_size_in_mid_stream_shows_in_the_pictures(tmp_path: Path) -> None:
    small = render(tmp_path / "small.ts", [Pass(True, 0, 0.5)], size=(320, 240))
    large = render(tmp_path / "large.ts", [Pass(True, 0, 0.5)], size=(640, 480))
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    found = pictures(fast(both))
    assert [picture.size_wh for picture in found] == [(320, 240)] * 20 + [(640, 480)] * 20
    assert all(before.t < after.t for before, after in pairwise(found))


def test_a_scheme_in_capitals_is_the_same_scheme() -> None:
    assert source_address("RTSP://User:Secret@Host/Path") == "rtsp://User:Secret@Host/Path"
    assert SourceSpec(source_address("Rtsps://host/x"), Playback.LIVE).is_rtsp
    assert source_address("FILE:///a/b.mp4") == "/a/b.mp4"


SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"


def _refuse_transports(server: socket.socket) -> None:
    """Answer as a camera that offers neither of our transports: SETUP gets status 461."""
    connection, _ = server.accept()
    with connection, connection.makefile("rb") as requests:
        head = b""
        for line in requests:
            head += line
            if line != b"\r\n":
                continue
            sequence = next(field for field in head.split(b"\r\n") if field.lower().startswith(b"cseq"))
            status = b"461 Unsupported Transport" if head.startswith(b"SETUP") else b"200 OK"
            body = SDP if head.startswith(b"DESCRIBE") else b""
            kind = b"Content-Type: application/sdp\r\n" if body else b"Public: DESCRIBE, SETUP, PLAY\r\n"
            length = b"Content-Length: %d\r\n" % len(body)
            connection.sendall(b"RTSP/1.0 %s\r\n%s\r\n%s%s\r\n%s" % (status, sequence, kind, length, body))
            head = b""


@pytest.mark.parametrize("transport", list(RtspTransport))
def test_a_camera_that_refuses_the_transport_is_distinguished_from_an_absent_one(transport: RtspTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_refuse_transports, args=(server,))
        thread.start()
        url = f"rtsp://127.0.0.1:{server.getsockname()[1]}/x"
        error = failure(SourceSpec(url, Playback.LIVE, transport=transport))
        thread.join(10)
    assert error.failure is SourceFailure.TRANSPORT_REFUSED
    assert "--transport" in error.hint


@pytest.mark.parametrize("name", ["clip.mp4", "clip.txt", "clip"])
def test_a_pointer_of_git_lfs_is_named_as_such(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    error = failure(fast(tmp_path / name))
    assert "Git LFS pointer" in error.message
    assert "git lfs pull" in error.hint


def test_a_video_behind_a_proxy_that_does_not_answer_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The camera was blamed: `connection refused`, though it was the proxy that refused."""
    monkeypatch.setenv("http_proxy", "http://user:SECRET@127.0.0.1:9")
    spec = SourceSpec("http://192.0.2.7/live.m3u8", Playback.LIVE, open_timeout_s=2)
    hint = failure(spec).hint
    assert "http_proxy is set" in hint
    assert "add 192.0.2.7 to no_proxy" in hint
    assert "SECRET" not in hint
    monkeypatch.setenv("no_proxy", "192.0.2.7")
    assert "http_proxy" not in failure(spec).hint
    assert "http_proxy" not in failure(SourceSpec("http://127.0.0.1:9/live.m3u8", Playback.LIVE)).hint


def test_an_address_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidInputError) as raised:
        source_address("gopher://user:secret@host/x")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://admin:pa/SECRET@127.0.0.1:9/s", "rtsp://admin:pa SECRET@h/s", "rtsp://admin:pa#SECRET@h/s",
        "rtsp://admin:SECRET@h:port/s", "http://h:99999/?pass=SECRET", "rtsp://[SECRET/s", "gopher://SECRET@h/x",
        "rtsp://:SECRET@/s", "rtsp://u:\x00SECRET@h/s", "file://[SECRET/x", "rtsp://u:SECRET@h/" + "a" * 3_000,
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused_without_its_secret(address: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        source_address(address)
    assert "SECRET" not in str(raised.value) + raised.value.hint
    assert raised.value.hint
