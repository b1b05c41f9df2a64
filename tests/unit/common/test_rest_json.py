import json

from countline.v1.audit_pb2 import AuditCheckpoint
from countline.v1.cameras_pb2 import (
    CAMERA_STATUS_ACTIVE,
    OBSERVED_STATE_RUNNING,
    Camera,
    CameraObservation,
    CameraSpec,
    Line,
    Point,
)
from countline.v1.counts_pb2 import VerifiedDirection
from countline.v1.workers_pb2 import ConnectResponse
from countline_common.http.rest_json import to_json


def test_fields_have_their_proto_names_and_scalars_are_always_there() -> None:
    spec = to_json(CameraSpec(lines=[Line(line_id="gate", points=[Point(x=0.5)])]))
    assert spec["lines"] == [{"line_id": "gate", "points": [{"x": 0.5, "y": 0.0}], "version": 0, "classes": []}]
    assert spec["processing_rate"] == 0.0


def test_enums_are_words_without_their_prefix_and_times_are_rfc_3339() -> None:
    camera = Camera(observed=CameraObservation(state=OBSERVED_STATE_RUNNING), status=CAMERA_STATUS_ACTIVE)
    camera.created_at.FromJsonString("2026-03-01T12:00:00.25Z")
    shown = to_json(camera)
    assert (shown["observed"]["state"], shown["status"]) == ("running", "active")
    assert shown["created_at"] == "2026-03-01T12:00:00.250000Z"


def test_messages_that_are_not_set_are_left_out() -> None:
    assert "spec" not in to_json(Camera())
    assert "error" not in to_json(CameraObservation())


def test_a_name_that_the_proto_states_wins() -> None:
    assert to_json(VerifiedDirection(counted_count=4, true_count=5, missed_count=1)) == {
        "counted": 4,
        "true": 5,
        "missed": 1,
        "false": 0,
    }


def test_durations_are_seconds() -> None:
    response = ConnectResponse()
    response.lease.FromMilliseconds(1500)
    assert to_json(response)["lease"] == 1.5


def test_an_enum_value_of_a_newer_release_is_its_number() -> None:
    assert to_json(CameraObservation.FromString(CameraObservation(state=99).SerializeToString()))["state"] == "99"


def test_bytes_are_base64() -> None:
    """The export of the audit failed as soon as it had a checkpoint: JSON has no bytes."""
    shown = to_json(AuditCheckpoint(signature=b"\0\xff\x10"))
    assert json.loads(json.dumps(shown))["signature"] == "AP8Q"
