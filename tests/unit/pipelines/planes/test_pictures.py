"""Previews: which pictures are encoded, and whose."""

import threading

import av
import numpy as np

from countline.v1 import events_pb2
from countline_counting.frames import TrackedFrame
from countline_pipelines.worker.pictures import PictureEncoder, preview

WAIT_S = 10.0


def shot(camera: str, t: float) -> tuple[TrackedFrame, tuple[()], av.VideoFrame]:
    none = np.zeros(0)
    tracked = TrackedFrame(camera, 0, t, (64, 48), none.astype(np.int64), np.zeros((0, 4)), none, none.astype(np.int64))
    return tracked, (), av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")


class Held:
    """Takes previews; the first one is held back until `go` is set."""

    def __init__(self, expected: int) -> None:
        self.taken: list[tuple[str, float]] = []
        self.held, self.go, self.all = threading.Event(), threading.Event(), threading.Event()
        self.more = threading.Event()
        self._expected = expected

    def send(self, camera: str, data: bytes) -> None:
        self.held.set()
        assert self.go.wait(WAIT_S)
        preview = events_pb2.PreviewFrame.FromString(data)
        self.taken.append((camera, preview.t.seconds + preview.t.nanos / 1e9))
        if len(self.taken) == self._expected:
            self.all.set()
        elif len(self.taken) > self._expected:
            self.more.set()


def test_a_preview_has_the_proportion_in_which_boxes_and_lines_are() -> None:
    """Half D1: 32x48 pixels twice as wide as high."""
    tracked, boxes, _ = shot("a", 1.0)
    shown = preview(tracked, boxes, av.VideoFrame.from_ndarray(np.zeros((48, 32, 3), np.uint8), format="rgb24"))
    assert (shown.width, shown.height) == (shown.source_width, shown.source_height) == (64, 48)


def test_while_the_encoder_is_busy_the_newest_picture_of_every_camera_waits() -> None:
    held = Held(expected=4)
    encoder = PictureEncoder(held.send)
    encoder.submit(*shot("a", 1.0))
    assert held.held.wait(WAIT_S)
    for t in (2.0, 3.0, 4.0):
        for camera in ("a", "b", "c"):
            encoder.submit(*shot(camera, t))
    held.go.set()
    assert held.all.wait(WAIT_S)
    encoder.close(WAIT_S)
    assert held.taken == [("a", 1.0), ("a", 4.0), ("b", 4.0), ("c", 4.0)]


def test_a_fast_camera_has_ten_pictures_a_second_of_its_own_time() -> None:
    times = [index / 30 for index in range(60)]
    held = Held(expected=20)
    held.go.set()
    taken = threading.Event()

    def send(camera: str, data: bytes) -> None:
        held.send(camera, data)
        taken.set()

    encoder = PictureEncoder(send)
    for t in times:
        taken.clear()
        before = len(held.taken)
        encoder.submit(*shot("a", t))
        if round(t * 30) % 3 == 0:
            assert taken.wait(WAIT_S)
        assert len(held.taken) - before == (round(t * 30) % 3 == 0)
    encoder.close(WAIT_S)
    assert [round(t * 30) for _, t in held.taken] == list(range(0, 60, 3))


def test_a_clock_that_was_set_back_stops_no_preview() -> None:
    held = Held(expected=2)
    held.go.set()
    encoder = PictureEncoder(held.send)
    encoder.submit(*shot("a", 100.0))
    encoder.submit(*shot("b", 50.0))
    assert held.all.wait(WAIT_S)
    encoder.submit(*shot("a", 50.0))
    encoder.submit(*shot("b", 50.05))
    assert held.more.wait(WAIT_S)
    encoder.close(WAIT_S)
    assert held.taken == [("a", 100.0), ("b", 50.0), ("a", 50.0)]
