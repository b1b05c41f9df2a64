"""Domain objects survive the way through the messages of the contract."""

from dataclasses import replace

from countline.v1 import cameras_pb2, models_pb2
from countline_common.display import Orientation, PictureShape
from countline_control.cameras import messages as camera_messages
from countline_control.cameras.domain import (
    Camera,
    CameraFault,
    CameraObservation,
    CameraSpec,
    GeoPosition,
    GroundPoint,
    LineSpec,
    MaskSpec,
    ObservedState,
    PlaybackMode,
    TransportMode,
    ZoneSpec,
)
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.models import messages as model_messages
from countline_control.models.domain import GoldenResult, GoldenState, Validation
from countline_control.workers import messages as worker_messages
from countline_counting.spec import MaskKind
from countline_models.deploy import CountedLine

GOLDEN_FINGERPRINT = "edceb445c60789b68cd126a61a9ec630"
SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
SPEC = CameraSpec(
    model="net@2",
    lines=(LineSpec("gate", ((0.1, 0.5), (0.9, 0.5)), ("person",), 3),),
    zones=(ZoneSpec("till", SQUARE, ("person", "vehicle"), 2, queue=True),),
    processing_rate=12.5,
    min_score=0.25,
    anchor=(0.5, 0.75),
    playback=PlaybackMode.LIVE,
    recorded_at=1_700_000_000.25,
    rtsp_transport=TransportMode.UDP,
    min_track_age_s=1.5,
    min_track_score=0.125,
    masks=(MaskSpec("tree", SQUARE, MaskKind.IGNORE), MaskSpec("hall", SQUARE, MaskKind.INCLUDE)),
    ground_plane=(GroundPoint((0.25, 0.5), -1.5, 30.0),),
)
CAMERA = Camera(
    camera_id="door",
    site_id="here",
    name="Door",
    stream_url="rtsp://joe:secret@h/live",
    location="main entrance",
    position=GeoPosition(52.5, 13.25),
    floor="1",
    status=WantedStatus.ACTIVE,
    tags=("north", "glass"),
    spec=SPEC,
    revision=7,
    created_at=1_700_000_000.5,
    updated_at=1_700_000_009.5,
)
PICTURE = PictureShape((360, 640), Orientation.COUNTERCLOCKWISE)
STATUS = CameraObservation(
    state=ObservedState.FAILED,
    worker_id="worker-1",
    epoch=4,
    width=640,
    height=360,
    source_fps=25.0,
    processed_fps=12.5,
    latency_s=0.125,
    frames_processed=100,
    frames_dropped=2,
    fault=CameraFault("unreachable", "no route", "see the cable"),
    last_frame_at=1_700_000_000.5,
    reported_at=1_700_000_001.0,
    since=1_699_999_999.5,
    progress=0.5,
    model="net@2",
    follower_model="net@1",
    warnings=(CameraFault("hole", "no picture from 1.0 s to 2.0 s", "copy it again"),),
    orientation=Orientation.CLOCKWISE,
)


def test_a_camera_with_every_field_comes_back_as_it_was() -> None:
    camera = replace(CAMERA, picture=PICTURE)
    message = camera_messages.camera_message(camera)
    assert camera_messages.camera_of(message) == camera
    unset = {field.name for field in cameras_pb2.CameraSpec.DESCRIPTOR.fields} - {
        field.name for field, _ in message.spec.ListFields()
    }
    assert unset == set(), "this test leaves no field out"
    assert camera_messages.spec_from_json(camera_messages.spec_json(SPEC)) == SPEC
    assert camera_messages.picture_from_json(camera_messages.picture_json(PICTURE)) == PICTURE


def test_an_empty_spec_sets_no_field() -> None:
    assert camera_messages.spec_message(CameraSpec()) == cameras_pb2.CameraSpec()
    assert camera_messages.spec_of(cameras_pb2.CameraSpec()) == CameraSpec()


def test_a_status_with_every_field_comes_back_as_it_was() -> None:
    message = camera_messages.observation_message(STATUS)
    assert camera_messages.observation_of(message) == STATUS
    assert len(message.ListFields()) == len(cameras_pb2.CameraObservation.DESCRIPTOR.fields)
    assert worker_messages.observation_from_json(worker_messages.observation_json(STATUS)) == STATUS


def test_numbers_that_the_contract_does_not_define_are_unknown() -> None:
    spec = camera_messages.spec_of(cameras_pb2.CameraSpec(playback=99, rtsp_transport=99, masks=[{"kind": 99}]))
    assert (spec.playback, spec.rtsp_transport, spec.masks[0].kind) == (
        PlaybackMode.UNKNOWN,
        TransportMode.UNKNOWN,
        None,
    )


def test_a_validation_comes_back_as_it_was() -> None:
    golden = GoldenResult(GoldenState.PASSED, "clip.mp4", (CountedLine("gate", 1, 2, 1, 3),), "detail")
    for validation in (Validation(), Validation(100.5, 8.25, 9.5, golden)):
        message = model_messages.validation_message(validation)
        assert model_messages.validation_of(message) == validation
        assert model_messages.validation_from_json(model_messages.validation_json(validation)) == validation
    assert model_messages.validation_message(Validation()) == models_pb2.ModelValidation()


def test_the_fingerprint_of_a_file_stays_what_it_was() -> None:
    """The database stores it: another value would replay every finished file."""
    camera = replace(CAMERA, stream_url="file:///recordings/a.mp4")
    assert worker_messages.fingerprint(camera) == GOLDEN_FINGERPRINT


def test_a_password_is_not_part_of_the_fingerprint() -> None:
    """The database stores it in the clear: a password could be guessed from it."""
    other = replace(CAMERA, stream_url="rtsp://joe:changed@h/live")
    assert worker_messages.fingerprint(other) == worker_messages.fingerprint(CAMERA)
    moved = replace(CAMERA, stream_url="rtsp://joe:secret@h2/live")
    assert worker_messages.fingerprint(moved) != worker_messages.fingerprint(CAMERA)


def test_a_camera_without_a_readable_password_is_not_assigned() -> None:
    assert worker_messages.assignable(CAMERA, "UTC").camera.status is WantedStatus.ACTIVE
    unreadable = replace(CAMERA, stream_url="rtsp://joe:***@h/live")
    assert worker_messages.assignable(unreadable, "UTC").camera.status is WantedStatus.INACTIVE
