"""Translates changes, events and differences to protobuf."""

from collections.abc import Iterable

from countline.v1 import cameras_pb2
from countline_common.audit.differences import changes as differing_fields
from countline_common.times import to_timestamp
from countline_control.cameras.domain import Camera
from countline_control.cameras.events.consequences import Consequence
from countline_control.cameras.events.domain import (
    LineChanged,
    LineDrawn,
    LineRemoved,
    Recorded,
    ZoneChanged,
    ZoneDrawn,
    ZoneRemoved,
)
from countline_control.cameras.events.messages import event_kind
from countline_control.cameras.events.rebuild import Rebuilt
from countline_control.cameras.history.changes import PastChange, consequences
from countline_control.cameras.messages import camera_message

_NOT_SHOWN = ("revision", "created_at", "updated_at")
"""Fields that each change sets; the change itself has them."""


def change_message(change: PastChange) -> cameras_pb2.CameraChange:
    """Translate a change."""
    first = change.first
    fields, _ = differing_fields(_message(change.before.camera), _message(change.after.camera))
    return cameras_pb2.CameraChange(
        version=first.version,
        revision=first.revision,
        occurred_at=to_timestamp(first.at),
        actor=first.actor,
        events=[_event_message(each) for each in change.events],
        fields=[each for each in fields if each.path not in _NOT_SHOWN],
        consequences=[_consequence_message(each) for each in consequences(change)],
    )


def rebuilt_message(found: Iterable[Rebuilt], next_page_token: str) -> cameras_pb2.RebuildCamerasResponse:
    """Translate what was found of some cameras."""
    cameras = list(found)
    return cameras_pb2.RebuildCamerasResponse(
        cameras=len(cameras),
        events=sum(each.events for each in cameras),
        differences=[
            cameras_pb2.CameraDifference(
                camera_id=camera.camera_id,
                path=each.path,
                stored=each.stored,
                rebuilt=each.rebuilt,
                written=camera.written and each.in_tables,
            )
            for camera in cameras
            for each in camera.differences
        ],
        next_page_token=next_page_token,
    )


def _message(camera: Camera | None) -> cameras_pb2.Camera | None:
    return None if camera is None else camera_message(camera)


def _event_message(recorded: Recorded) -> cameras_pb2.CameraEvent:
    subject, version = _subject(recorded)
    kind = event_kind(recorded.event)
    return cameras_pb2.CameraEvent(version=recorded.version, kind=kind, subject=subject, subject_version=version)


def _subject(recorded: Recorded) -> tuple[str, int]:
    event = recorded.event
    if isinstance(event, LineDrawn | LineChanged):
        return event.line.line_id, event.line.version
    if isinstance(event, ZoneDrawn | ZoneChanged):
        return event.zone.zone_id, event.zone.version
    if isinstance(event, LineRemoved):
        return event.line_id, 0
    return (event.zone_id, 0) if isinstance(event, ZoneRemoved) else ("", 0)


def _consequence_message(consequence: Consequence) -> cameras_pb2.CameraConsequence:
    return cameras_pb2.CameraConsequence(
        effect=consequence.effect.value, text=consequence.text, lost_s=consequence.lost_s
    )
