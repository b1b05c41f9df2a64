"""Pictures are read as a player displays them: upright and in proportion, as the file or the camera states."""

import io
import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from numpy.typing import NDArray
from PIL import Image

from countline_common.display import Orientation
from countline_pipelines.planes.software.source.reader import ReadState, SourceReader
from countline_pipelines.sources import Picture, Playback, SourceSpec, VideoInfo, VideoReader, WarningCode, play

FPS = 20
MARK = (slice(0, 48), slice(0, 80))
"""Rows and columns of the red mark in the upper left of a displayed picture of 320x240."""


def marked(width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 5, : width // 4, 0] = 255
    return pixels


def write(path: Path, pictures: Sequence[NDArray[np.uint8]], sar: Fraction | None = None, turn: int = 0) -> Path:
    """Write a clip; `turn`: degrees counterclockwise of the display matrix."""
    height, width, _ = pictures[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "12", "g": "250", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if sar is not None:
            stream.codec_context.sample_aspect_ratio = sar
        if turn:
            stream.set_display_rotation(turn)
        for index, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def filtered(source: Path, path: Path, bitstream_filter: str) -> Path:
    with av.open(str(source)) as whole, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(whole.streams.video[0])
        context = BitStreamFilterContext(bitstream_filter, whole.streams.video[0], stream)
        for packet in whole.demux(video=0):
            for changed in context.filter(packet if packet.size else None):
                changed.stream = stream
                container.mux(changed)
    return path


def pictures(path: Path) -> tuple[list[Picture], VideoInfo]:
    spec = SourceSpec(str(path), Playback.FAST)
    with VideoReader(spec) as video:
        return list(play(spec, video, threading.Event())), video.info


def is_upright(picture: Picture) -> bool:
    """Whether the mark is in the upper left, and nowhere else."""
    image = picture.frame.to_ndarray(format="rgb24", width=320, height=240)[:, :, 0].astype(int)
    outside = image.copy()
    outside[MARK] = 0
    return bool(image[MARK].mean() > 150 and outside.mean() < 12)


@pytest.mark.parametrize(
    ("turn", "stored", "orientation"),
    [
        (90, lambda pixels: np.rot90(pixels, -1), Orientation.COUNTERCLOCKWISE),
        (-90, lambda pixels: np.rot90(pixels, 1), Orientation.CLOCKWISE),
        (180, lambda pixels: np.rot90(pixels, 2), Orientation.HALF_TURN),
    ],
)
@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_the_matrix_of_a_container_turns_every_picture(
    tmp_path: Path,
    kind: str,
    turn: int,
    stored: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    orientation: Orientation,
) -> None:
    """A phone that is held upright writes its pictures lying on their side; 90 degrees gave 1/0 for 4/3."""
    path = write(tmp_path / f"phone.{kind}", [np.ascontiguousarray(stored(marked()))] * 10, turn=turn)
    found, info = pictures(path)
    assert len(found) == 10
    assert {(each.size_wh, each.orientation) for each in found} == {((320, 240), orientation)}
    assert (info.width, info.height) == (320, 240)
    assert all(is_upright(each) for each in found)


def test_the_orientation_that_a_codec_states_holds_up_to_a_key_frame_without_it(tmp_path: Path) -> None:
    lying = np.ascontiguousarray(np.rot90(marked(), -1))
    turned = filtered(
        write(tmp_path / "lying.mp4", [lying] * 10),
        tmp_path / "turned.ts",
        "h264_mp4toannexb,h264_metadata=rotate=90:display_orientation=insert",
    )
    plain = write(tmp_path / "plain.ts", [marked()] * 10)
    both = tmp_path / "both.ts"
    both.write_bytes(turned.read_bytes() + plain.read_bytes())
    found, _ = pictures(both)
    orientations = [each.orientation for each in found]
    assert orientations == [Orientation.COUNTERCLOCKWISE] * 10 + [Orientation.UPRIGHT] * 10
    assert all(is_upright(each) for each in found)


def test_the_orientation_of_a_jpeg_turns_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8  # displayed after a turn counterclockwise
    jpeg = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.rot90(marked(), -1))).save(jpeg, "JPEG", exif=exif)
    path = tmp_path / "phone.mjpeg"
    path.write_bytes(jpeg.getvalue() * 3)
    found, _ = pictures(path)
    assert {each.size_wh for each in found} == {(320, 240)}
    assert all(is_upright(each) for each in found)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(("decoded", "sar", "shown"), [((320, 120), "1/2", (160, 120)), ((160, 240), "2", (320, 240))])
def test_pixels_that_are_not_square_are_shown_in_proportion(
    tmp_path: Path, kind: str, decoded: tuple[int, int], sar: str, shown: tuple[int, int]
) -> None:
    path = write(tmp_path / f"half.{kind}", [marked(*decoded)] * 5, Fraction(sar))
    found, info = pictures(path)
    assert {each.size_wh for each in found} == {shown}
    assert (info.width, info.height) == shown


def test_a_proportion_that_changes_in_mid_stream_begins_a_new_size(tmp_path: Path) -> None:
    wide = write(tmp_path / "wide.ts", [marked(160, 240)] * 10, Fraction(2))
    square = write(tmp_path / "square.ts", [marked(160, 240)] * 10, Fraction(1))
    both = tmp_path / "both.ts"
    both.write_bytes(wide.read_bytes() + square.read_bytes())
    assert [each.size_wh for each in pictures(both)[0]] == [(320, 240)] * 10 + [(160, 240)] * 10


class Kept:
    """A consumer that keeps nothing and waits for the end."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def opened(self, info: VideoInfo) -> None:
        pass

    def take(self, picture: Picture) -> None:
        pass

    def restart(self) -> None:
        pass

    def changed(self, state: ReadState, error: Exception | None) -> None:
        if state is not ReadState.PLAYING:
            self.ended.set()


def test_a_camera_whose_picture_turns_says_so(tmp_path: Path) -> None:
    lying = write(tmp_path / "lying.ts", [np.ascontiguousarray(np.rot90(marked(), -1))] * 10)
    both = tmp_path / "both.ts"
    both.write_bytes(write(tmp_path / "plain.ts", [marked()] * 10).read_bytes() + lying.read_bytes())
    kept = Kept()
    reader = SourceReader("cam", SourceSpec(str(both), Playback.FAST), kept, once=True)
    reader.start()
    assert kept.ended.wait(20)
    (warning,) = reader.warnings.all()
    assert warning.code is WarningCode.PICTURE_CHANGED
    assert "from 320x240 to 240x320" in warning.message
