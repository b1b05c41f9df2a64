"""Decoding on a GPU: FFmpeg's NVDEC code on a stand-in for NVIDIA's driver, which refuses and fails as that one does.

What a stand-in cannot show, that the GPU's pictures are those of the CPU, the last test does where a GPU is.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from tests.fixtures.clips import FPS, Pass, render
from tests.fixtures.nvdec import REAL_DRIVER, NvdecDriver
from tests.fixtures.rtsp import RtspServer

from countline_common.errors import CountlineError, UnavailableError
from countline_common.triton.letterbox import Letterbox, Scaler
from countline_pipelines.planes.software.source.reader import ReadState, SourceReader
from countline_pipelines.sources import (
    DecodeMode,
    Decoder,
    Decoding,
    Picture,
    Playback,
    SourceError,
    SourceFailure,
    SourceSpec,
    VideoInfo,
    VideoReader,
    decoding_of,
    play,
)

WAIT_S = 30.0
FRAMES = 60
Encode = Callable[..., Path]


@pytest.fixture
def encode(tmp_path: Path) -> Encode:
    """Writes clips whose pictures are not sent in the order in which they are shown."""

    def write(codec: str = "libx264", pixels: str = "yuv420p", size: tuple[int, int] = (322, 242)) -> Path:
        path = tmp_path / f"{codec}-{pixels}.mp4"
        with av.open(str(path), "w") as container:
            options = {} if codec == "libsvtav1" else {"bf": "3", "g": "30"}
            stream = container.add_stream(codec, rate=FPS, options=options)
            stream.width, stream.height, stream.pix_fmt = *size, pixels
            stream.time_base = Fraction(1, FPS)
            for index in range(FRAMES):
                picture = np.full((size[1], size[0], 3), index * 4, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, FPS)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


def fast(path: Path) -> SourceSpec:
    return SourceSpec(str(path), Playback.FAST)


def times(spec: SourceSpec, decoding: Decoding | None = None) -> list[tuple[float, tuple[int, int]]]:
    """Capture time and size of each picture."""
    with VideoReader(spec, decoding) as video:
        return [(picture.t, picture.size_wh) for picture in play(spec, video, threading.Event())]


def decoded_before(picture: av.VideoFrame) -> int:
    """How many pictures the stand-in had decoded before this one, which it writes into every byte of the luma."""
    return memoryview(picture.planes[0])[0] - 16


@pytest.mark.parametrize(
    ("codec", "pixels", "downloaded"),
    [("libx264", "yuv420p", "nv12"), ("libx265", "yuv420p", "nv12"), ("libx265", "yuv420p10le", "p010le")],
)
def test_the_gpu_gives_each_picture_in_its_order_with_its_time(
    nvdec: NvdecDriver, encode: Encode, codec: str, pixels: str, downloaded: str
) -> None:
    spec = fast(encode(codec, pixels))
    with av.open(spec.url) as container:
        sent = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert sent != sorted(sent)
    decoding = decoding_of(DecodeMode.AUTO)
    with VideoReader(spec, decoding) as video:
        found = [decoded.picture for decoded in video.frames()]
        assert video.decoder is Decoder.NVDEC
    assert {picture.format.name for picture in found} == {downloaded}
    assert [sent[decoded_before(picture)] for picture in found] == sorted(sent)
    assert times(spec, decoding) == times(spec)


def test_a_codec_or_profile_that_the_gpu_does_not_take_is_decoded_by_the_cpu_from_the_first_picture(
    nvdec: NvdecDriver, encode: Encode
) -> None:
    spec = fast(encode())
    nvdec.set(supported=0)
    with VideoReader(spec) as cpu, VideoReader(spec, decoding_of(DecodeMode.AUTO)) as refused:
        for expected, decoded in zip(cpu.frames(), refused.frames(), strict=True):
            assert np.array_equal(expected.picture.to_ndarray(), decoded.picture.to_ndarray())
            assert (expected.pts_s, refused.decoder) == (decoded.pts_s, Decoder.CPU)
    assert "does not take" in refused.refusal
    assert nvdec.get("decoders") == 0


def test_a_codec_for_which_ffmpeg_has_no_gpu_decoder_is_decoded_by_the_cpu(nvdec: NvdecDriver, encode: Encode) -> None:
    spec = fast(encode("libsvtav1"))
    with VideoReader(spec, decoding_of(DecodeMode.AUTO)) as video:
        assert len(list(video.frames())) == FRAMES
        assert video.decoder is Decoder.CPU
        assert "on the CPU only" in video.refusal
    with pytest.raises(SourceError) as raised:
        VideoReader(spec, decoding_of(DecodeMode.NVDEC))
    assert raised.value.failure is SourceFailure.CODEC_MISSING


def test_the_stream_that_finds_the_gpus_decoders_used_up_goes_to_the_cpu_and_the_next_one_finds_a_free_one(
    nvdec: NvdecDriver, encode: Encode
) -> None:
    spec, decoding = fast(encode()), decoding_of(DecodeMode.AUTO)
    nvdec.set(most_decoders=2)
    with ExitStack() as stack:
        videos = [stack.enter_context(VideoReader(spec, decoding)) for _ in range(3)]
        streams = [video.frames() for video in videos]
        for stream in streams:
            next(stream)
        assert [video.decoder for video in videos] == [Decoder.NVDEC, Decoder.NVDEC, Decoder.CPU]
        assert [len(list(stream)) for stream in streams] == [FRAMES - 1] * 3
    assert nvdec.get("decoders") == 0
    with VideoReader(spec, decoding) as later:
        next(later.frames())
        assert later.decoder is Decoder.NVDEC
    assert nvdec.get("contexts") == 0  # all of them shared the device's own


@pytest.mark.parametrize("sought_s", [None, 1.5])
def test_a_gpu_that_is_lost_in_the_middle_of_a_file_costs_no_frame(
    nvdec: NvdecDriver, encode: Encode, sought_s: float | None
) -> None:
    spec, decoding = fast(encode()), decoding_of(DecodeMode.AUTO)

    def shown(video: VideoReader) -> Iterator[float | None]:
        if sought_s is not None:
            video.seek(sought_s)
        return (decoded.pts_s for decoded in video.frames())

    with VideoReader(spec) as cpu:
        expected = list(shown(cpu))
    nvdec.lose_after(20)
    with VideoReader(spec, decoding) as video:
        found = shown(video)
        first = [next(found) for _ in range(10)]
        assert video.decoder is Decoder.NVDEC
        assert first + list(found) == expected
        assert video.decoder is Decoder.CPU
        assert "stopped decoding" in video.refusal
    nvdec.set(lost_after=-1)  # for others it is there again; this source is left on the CPU for a while
    with VideoReader(spec, decoding) as again:
        assert again.decoder is Decoder.CPU


class Told:
    """Takes what a reader hands over, and stops it after so many pictures of the CPU."""

    def __init__(self, driver: NvdecDriver, enough: int) -> None:
        self.states: list[tuple[ReadState, str]] = []
        self.decoders: list[int] = []
        """Those of the GPU that were held at each change of state."""
        self._driver = driver
        self.taken = {Decoder.NVDEC: 0, Decoder.CPU: 0}
        self.first, self.broke, self.done = threading.Event(), threading.Event(), threading.Event()
        self._enough = enough

    def opened(self, info: VideoInfo) -> None:
        pass

    def restart(self) -> None:
        pass

    def take(self, picture: Picture) -> None:
        self.taken[Decoder.NVDEC if picture.frame.format.name == "nv12" else Decoder.CPU] += 1
        self.first.set()
        if self.taken[Decoder.CPU] >= self._enough:
            self.done.set()

    def changed(self, state: ReadState, error: CountlineError | None) -> None:
        if state is ReadState.PLAYING:
            return
        self.states.append((state, str(getattr(error, "failure", ""))))
        self.decoders.append(self._driver.get("decoders"))
        self.broke.set()


def decoder_info(camera: str) -> dict[str, float | None]:
    return {
        decoder.value: REGISTRY.get_sample_value("countline_decoder_info", {"camera": camera, "decoder": decoder.value})
        for decoder in Decoder
    }


def test_a_live_camera_whose_gpu_is_lost_is_connected_again_and_goes_on_with_the_cpu(
    nvdec: NvdecDriver, encode: Encode
) -> None:
    watcher = Told(nvdec, enough=5)
    spec = SourceSpec(str(encode()), Playback.LIVE)
    nvdec.lose_after(20)
    with capture_logs() as logs:
        reader = SourceReader("gate", spec, watcher, decoding=decoding_of(DecodeMode.AUTO))
        reader.start()
        assert watcher.done.wait(WAIT_S)
        in_use = decoder_info("gate")
        reader.stop()
        assert reader.join(WAIT_S)
    assert watcher.taken[Decoder.NVDEC] > 5
    assert watcher.states[0] == (ReadState.BROKEN, "decoder_lost")
    assert watcher.decoders[0] == 0  # the decoder that failed is not held while the camera waits
    assert in_use == {"cpu": 1, "nvdec": 0}
    assert decoder_info("gate") == {"cpu": 0, "nvdec": 0}
    assert [log["why"] for log in logs if log["event"] == "source.decoded_on_cpu"] == [
        "the GPU stopped decoding: Generic error in an external library"
    ]
    assert REGISTRY.get_sample_value("countline_decoder_refusals_total", {"camera": "gate"}) == 1


def test_a_camera_that_waits_for_its_source_holds_no_decoder_of_the_gpu(
    nvdec: NvdecDriver, rtsp: Callable[..., RtspServer]
) -> None:
    server = rtsp()
    watcher = Told(nvdec, enough=1)
    reader = SourceReader(
        "door",
        SourceSpec(server.url(), Playback.LIVE, open_timeout_s=5.0, read_timeout_s=1.0),
        watcher,
        decoding=decoding_of(DecodeMode.NVDEC),
    )
    reader.start()
    assert watcher.first.wait(WAIT_S)
    assert nvdec.get("decoders") == 1
    server.freeze()
    assert watcher.broke.wait(WAIT_S)
    reader.stop()
    assert reader.join(WAIT_S)
    assert watcher.states[0] == (ReadState.BROKEN, "timed_out")
    assert watcher.decoders[0] == 0


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"supported": 0}, SourceFailure.CODEC_MISSING),
        ({"most_decoders": 0}, SourceFailure.CODEC_MISSING),
        ({"retain_error": 2}, SourceFailure.DECODER_LOST),
        ({"lost_after": 0}, SourceFailure.DECODER_LOST),
    ],
)
def test_where_the_gpu_alone_may_decode_a_stream_that_it_does_not_decode_fails(
    nvdec: NvdecDriver, encode: Encode, change: dict[str, int], failure: SourceFailure
) -> None:
    spec, decoding = fast(encode()), decoding_of(DecodeMode.NVDEC)
    assert len(times(spec, decoding)) == FRAMES
    nvdec.set(**change)
    with pytest.raises(SourceError) as raised:
        times(spec, decoding)
    assert raised.value.failure is failure
    assert raised.value.hint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"init_error": 100}, "CUDA_ERROR_NO_DEVICE (100)"),
        ({"init_error": 803}, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)"),
        ({"retain_error": 2}, "FFmpeg cannot use the GPU"),
    ],
)
def test_a_driver_without_a_gpu_that_works_is_an_error_where_the_gpu_was_asked_for_and_a_line_in_the_log_else(
    nvdec: NvdecDriver, change: dict[str, int], words: str
) -> None:
    nvdec.set(**change)
    with pytest.raises(UnavailableError) as raised:
        decoding_of(DecodeMode.NVDEC)
    assert words in raised.value.message
    assert "nvidia-smi" in raised.value.hint
    with capture_logs() as logs:
        assert decoding_of(DecodeMode.AUTO).choose("x").accel is None
    assert [words in log["why"] for log in logs] == [True]


def test_a_gpu_that_is_gone_when_a_camera_is_opened_leaves_it_to_the_cpu(nvdec: NvdecDriver, encode: Encode) -> None:
    spec, decoding = fast(encode()), decoding_of(DecodeMode.AUTO)
    nvdec.set(retain_error=999)
    with VideoReader(spec, decoding) as video:
        assert len(list(video.frames())) == FRAMES
    assert (video.decoder, "cannot be used any more" in video.refusal) == (Decoder.CPU, True)


def python(code: str, libraries: Path | None = None) -> str:
    """What a fresh process prints, with a driver in that folder or without one."""
    environment = {**os.environ, **({"LD_LIBRARY_PATH": str(libraries)} if libraries else {})}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=WAIT_S
    )
    return done.stdout


NVDEC_OR_WHY_NOT = """
from countline_common.errors import CountlineError
from countline_pipelines.sources import DecodeMode, decoding_of
try:
    decoding_of(DecodeMode.NVDEC)
except CountlineError as error:
    print(error.message, error.hint)
"""


def test_a_missing_library_of_the_driver_is_named_with_what_installs_it(nvdec_libraries: Path, tmp_path: Path) -> None:
    none = python(NVDEC_OR_WHY_NOT)
    assert "libcuda.so.1" in none
    assert "nvidia-driver" in none
    (tmp_path / "libcuda.so.1").symlink_to(nvdec_libraries / "libcuda.so.1")
    half = python(NVDEC_OR_WHY_NOT, tmp_path)
    assert "libnvcuvid.so.1" in half
    assert "NVIDIA_DRIVER_CAPABILITIES" in half
    assert python(NVDEC_OR_WHY_NOT, nvdec_libraries) == ""


@pytest.mark.skipif(REAL_DRIVER, reason="NVIDIA's driver is here")
@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["count", "clip.mp4", "--line", "a:0,0.5,1,0.5", "--decode", "nvdec"], {}),
        (["count", "clip.mp4", "--line", "a:0,0.5,1,0.5"], {"COUNTLINE_DECODE": "nvdec"}),
        (["worker", "--decode", "nvdec"], {}),
        (["worker"], {"COUNTLINE_DECODE": "nvdec"}),
    ],
)
def test_a_command_that_is_to_decode_on_a_gpu_ends_at_its_start_where_none_is(
    tmp_path: Path, arguments: list[str], variables: dict[str, str]
) -> None:
    environment = {**os.environ, "COUNTLINE_NATS_URL": "nats://127.0.0.1:1", "COUNTLINE_DATA": str(tmp_path)}
    command = [sys.executable, "-m", "countline_common", *arguments]
    done = subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert done.returncode == 1
    assert "libcuda.so.1" in done.stderr
    assert "hint: install NVIDIA's driver" in done.stderr


@pytest.mark.parametrize(("mode", "loaded"), [(DecodeMode.CPU, False), (DecodeMode.AUTO, True)])
def test_the_driver_is_not_loaded_where_the_cpu_was_asked_for(
    nvdec_libraries: Path, encode: Encode, mode: DecodeMode, loaded: bool
) -> None:
    code = f"""
from pathlib import Path
from countline_pipelines.sources import *
with VideoReader(SourceSpec({str(encode())!r}, Playback.FAST), decoding_of(DecodeMode({mode.value!r}))) as video:
    assert len(list(video.frames())) == {FRAMES}
print("libcuda" in Path("/proc/self/maps").read_text())
"""
    assert python(code, nvdec_libraries).splitlines()[-1] == str(loaded)


@pytest.mark.parametrize("size_wh", [(640, 480), (322, 242)])
def test_a_picture_as_the_gpu_hands_it_over_is_scaled_to_the_same_pixels(size_wh: tuple[int, int]) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)
    planar = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format="yuv420p")
    interleaved = planar.reformat(format="nv12")
    box = Letterbox(size_wh, (416, 416))
    expected, found = (Scaler().scale(frame, box).to_ndarray() for frame in (planar, interleaved))
    assert np.array_equal(expected, found)


@pytest.mark.gpu
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_real_gpu_gives_the_very_pictures_of_the_cpu(tmp_path: Path, codec: str) -> None:
    if not REAL_DRIVER:
        pytest.skip("no NVIDIA driver here")
    spec = fast(render(tmp_path / "clip.mp4", [Pass(True), Pass(False, 1)], codec=codec))
    with VideoReader(spec) as cpu, VideoReader(spec, decoding_of(DecodeMode.NVDEC)) as gpu:
        for expected, decoded in zip(cpu.frames(), gpu.frames(), strict=True):
            assert expected.pts_s == decoded.pts_s
            same = decoded.picture.reformat(format="yuv420p")
            assert np.array_equal(expected.picture.to_ndarray(), same.to_ndarray())
    assert gpu.decoder is Decoder.NVDEC
