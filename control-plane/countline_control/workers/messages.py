"""Converts workers, their reports and their assignments from and to messages of the contract."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.wrappers_pb2 import StringValue

from countline.v1 import cameras_pb2, workers_pb2
from countline_common.times import to_timestamp
from countline_control.cameras.domain import Camera, CameraObservation, is_unreadable
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.cameras.messages import camera_message, observation_message, observation_of, spec_message
from countline_control.cameras.sources import masked
from countline_control.models.domain import Follower
from countline_control.workers.domain import (
    AssignableCamera,
    Assignment,
    CameraReport,
    Cordon,
    WorkerReport,
    WorkerView,
)
from countline_control.workers.lease_store import StoredLease


def report_of(message: workers_pb2.ConnectRequest) -> WorkerReport:
    """Read a worker's report."""
    return WorkerReport(
        worker_id=message.worker_id,
        instance=message.instance,
        backend=message.backend,
        capacity=message.capacity,
        version=message.version,
        spool_bytes=message.spool_bytes,
        clock_offset_s=message.clock_offset_s,
        cameras=tuple(
            CameraReport(each.camera_id, each.epoch, observation_of(each.observed)) for each in message.cameras
        ),
    )


def camera_report_message(report: CameraReport) -> workers_pb2.CameraReport:
    """Translate the report on one camera."""
    return workers_pb2.CameraReport(
        camera_id=report.camera_id, epoch=report.epoch, observed=observation_message(report.observed)
    )


def worker_message(view: WorkerView) -> workers_pb2.Worker:
    """Translate a worker."""
    return workers_pb2.Worker(
        worker_id=view.worker_id,
        state=workers_pb2.WORKER_STATE_ONLINE if view.online else workers_pb2.WORKER_STATE_OFFLINE,
        backend=view.backend,
        capacity=view.capacity,
        camera_ids=view.camera_ids,
        version=view.version,
        connected_at=to_timestamp(view.connected_at),
        reported_at=to_timestamp(view.reported_at),
        spool_bytes=view.spool_bytes,
        clock_offset_s=view.clock_offset_s,
        cordon=None if view.cordon is None else cordon_message(view.cordon),
    )


def cordon_message(cordon: Cordon) -> workers_pb2.Cordon:
    """Translate the cordon of a worker."""
    state = workers_pb2.CORDON_STATE_CORDONED
    if cordon.drains:
        is_over = cordon.drained_at is not None
        state = workers_pb2.CORDON_STATE_DRAINED if is_over else workers_pb2.CORDON_STATE_DRAINING
    return workers_pb2.Cordon(
        state=state,
        reason=cordon.reason,
        by=cordon.by,
        since=to_timestamp(cordon.since),
        at_once=cordon.at_once,
        drained_at=None if cordon.drained_at is None else to_timestamp(cordon.drained_at),
    )


def scheduler_message(lease: StoredLease | None) -> workers_pb2.Scheduler | None:
    """Translate the lease of the copy that schedules."""
    if lease is None:
        return None
    return workers_pb2.Scheduler(address=lease.address, number=lease.number, since=to_timestamp(lease.taken_at))


def directions(assignments: Iterable[Assignment], lease_s: float) -> workers_pb2.ConnectResponse:
    """Build the response that assigns exactly these cameras to a worker, under a lease of `lease_s` seconds."""
    lease = Duration()
    lease.FromNanoseconds(round(lease_s * 1e9))
    return workers_pb2.ConnectResponse(assignments=[_assignment_message(each) for each in assignments], lease=lease)


def _assignment_message(assignment: Assignment) -> workers_pb2.Assignment:
    return workers_pb2.Assignment(
        camera=camera_message(assignment.item.camera),
        epoch=assignment.epoch,
        time_zone=assignment.item.time_zone,
        model=assignment.model,
        follower=None if assignment.follower is None else _follower_message(assignment.follower),
        assigned_at=None if assignment.assigned_at is None else to_timestamp(assignment.assigned_at),
    )


def _follower_message(follower: Follower) -> workers_pb2.Follower:
    return workers_pb2.Follower(trial_id=follower.trial_id, model=follower.model, is_challenger=follower.is_challenger)


def assignable(camera: Camera, time_zone: str) -> AssignableCamera:
    """Prepare a camera for assignment. A camera without a readable password is not assigned."""
    if is_unreadable(camera):
        camera = replace(camera, status=WantedStatus.INACTIVE)
    return AssignableCamera(camera, time_zone, fingerprint(camera))


def fingerprint(camera: Camera) -> str:
    """Return a text that changes when a file would be counted differently.

    A new name or status does not change it. Nor does another model: the objects that it would find have been
    counted already, and would be counted twice. Nor does another password: the database keeps this text, and a
    password must not be guessed from it.
    """
    spec = spec_message(replace(camera.spec, model=""))
    # The address was once the first field of the spec: so the texts that are stored stay valid.
    address = StringValue(value=masked(camera.stream_url)).SerializeToString()
    return hashlib.sha256(address + spec.SerializeToString(deterministic=True)).hexdigest()[:32]


def observation_json(status: CameraObservation) -> dict[str, Any]:
    """Return a status as it is stored: protobuf's JSON, with the field names of the contract."""
    return MessageToDict(observation_message(status), preserving_proto_field_name=True)


def observation_from_json(values: Mapping[str, Any]) -> CameraObservation:
    """Read a stored status; fields that a newer release wrote are ignored."""
    return observation_of(ParseDict(dict(values), cameras_pb2.CameraObservation(), ignore_unknown_fields=True))
