"""Converts placements and drains to messages of the contract."""

from collections.abc import Iterable
from typing import Final

from countline.v1 import workers_pb2
from countline_common.times import to_timestamp
from countline_control.cameras.messages import observation_message
from countline_control.workers.domain import AssignmentCause, CameraMove, Holder
from countline_control.workers.fleet import Fleet
from countline_control.workers.lease_store import StoredLease
from countline_control.workers.messages import scheduler_message
from countline_control.workers.placement.why import CandidateVerdict, Placement, WorkerCandidate

_CAUSES: Final = {
    AssignmentCause.UNSPECIFIED: workers_pb2.ASSIGNMENT_CAUSE_UNSPECIFIED,
    AssignmentCause.NEW: workers_pb2.ASSIGNMENT_CAUSE_NEW,
    AssignmentCause.RESTARTED: workers_pb2.ASSIGNMENT_CAUSE_RESTARTED,
    AssignmentCause.GONE: workers_pb2.ASSIGNMENT_CAUSE_GONE,
    AssignmentCause.FULL: workers_pb2.ASSIGNMENT_CAUSE_FULL,
    AssignmentCause.DRAINED: workers_pb2.ASSIGNMENT_CAUSE_DRAINED,
    AssignmentCause.CHANGED: workers_pb2.ASSIGNMENT_CAUSE_CHANGED,
}
_VERDICTS: Final = {
    CandidateVerdict.HOLDS: workers_pb2.CANDIDATE_VERDICT_HOLDS,
    CandidateVerdict.NEXT: workers_pb2.CANDIDATE_VERDICT_NEXT,
    CandidateVerdict.BUSIER: workers_pb2.CANDIDATE_VERDICT_BUSIER,
    CandidateVerdict.FULL: workers_pb2.CANDIDATE_VERDICT_FULL,
    CandidateVerdict.CORDONED: workers_pb2.CANDIDATE_VERDICT_CORDONED,
    CandidateVerdict.OFFLINE: workers_pb2.CANDIDATE_VERDICT_OFFLINE,
}


def move_message(move: CameraMove) -> workers_pb2.CameraMove:
    """Translate a move of a drain."""
    return workers_pb2.CameraMove(
        camera_id=move.camera_id,
        worker_id=move.worker_id,
        epoch=move.epoch,
        moved_at=to_timestamp(move.moved_at),
        counting_at=None if move.counting_at is None else to_timestamp(move.counting_at),
        lost_s=move.lost_s,
    )


def held_cameras(fleet: Fleet, camera_ids: Iterable[str]) -> list[workers_pb2.HeldCamera]:
    """Describe cameras that a worker holds."""
    return [_held_camera(fleet, camera_id, fleet.held[camera_id]) for camera_id in camera_ids]


def _held_camera(fleet: Fleet, camera_id: str, holder: Holder) -> workers_pb2.HeldCamera:
    item = fleet.camera(camera_id)
    return workers_pb2.HeldCamera(
        camera_id=camera_id,
        name=item.camera.name if item is not None else "",
        epoch=holder.epoch,
        since=None if holder.assigned_at is None else to_timestamp(holder.assigned_at),
        cause=_CAUSES[holder.cause],
        former_worker_id=holder.former_worker_id,
        observed=observation_message(fleet.status(camera_id)),
        is_stuck=camera_id in fleet.placement.stuck,
    )


def placement_message(placement: Placement, lease: StoredLease | None) -> workers_pb2.Placement:
    """Translate a placement."""
    holder, observed = placement.holder, placement.observed
    message = workers_pb2.Placement(
        camera_id=placement.camera_id,
        not_wanted=placement.not_wanted,
        observed=None if observed is None else observation_message(observed),
        candidates=[_candidate_message(each) for each in placement.candidates],
        scheduler=scheduler_message(lease),
    )
    if holder is not None:
        message.worker_id, message.epoch = holder.worker_id, holder.epoch
        message.cause, message.former_worker_id = _CAUSES[holder.cause], holder.former_worker_id
        if holder.assigned_at is not None:
            message.since.CopyFrom(to_timestamp(holder.assigned_at))
    return message


def _candidate_message(candidate: WorkerCandidate) -> workers_pb2.Candidate:
    return workers_pb2.Candidate(
        worker_id=candidate.worker_id,
        verdict=_VERDICTS[candidate.verdict],
        cameras=candidate.cameras,
        capacity=candidate.capacity,
        explanation=candidate.explanation,
    )
