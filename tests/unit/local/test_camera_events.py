"""Domain events in words."""

from countline.v1 import cameras_pb2
from countline_local.up.camera_events import describe

CAMERA = cameras_pb2.Camera(camera_id="door-1").SerializeToString()
HEADERS = {"Countline-Type": "countline.v1.Camera"}


def test_an_event_of_a_camera_is_reported_with_its_name() -> None:
    assert describe("countline.domain.camera.created", HEADERS, CAMERA) == "camera door-1 was created"


def test_what_is_no_camera_is_not_reported() -> None:
    assert describe("countline.domain.camera.created", {}, CAMERA) == ""
    assert describe("countline.domain.camera.created", HEADERS, b"\xff\xff") == ""
