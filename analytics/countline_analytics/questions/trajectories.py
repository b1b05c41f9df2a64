"""ListTrajectories: stored paths of objects, oldest first."""

from itertools import accumulate
from typing import Any

from countline.v1 import counts_pb2, events_pb2
from countline_analytics.instants import to_us, utc_now
from countline_analytics.questions.answers import Questions
from countline_analytics.questions.asked import asked_cameras, asked_span
from countline_analytics.questions.callers import Caller
from countline_analytics.questions.paging import read_page


class TrajectoryQueries(Questions):
    """Lists trajectories."""

    async def list_trajectories(
        self, request: counts_pb2.ListTrajectoriesRequest, caller: Caller
    ) -> counts_pb2.ListTrajectoriesResponse:
        """Return a page of trajectories. The part that a stale worker saw after the hand-over is cut off."""
        cameras = await asked_cameras(self._directory, caller, request.camera_id)
        start, end = asked_span(request, utc_now())
        camera_ids = [camera.camera_id for camera in cameras]
        rows, token = await read_page(
            self._engine, "list_trajectories", request, camera_ids=camera_ids, start=start, end=end
        )
        return counts_pb2.ListTrajectoriesResponse(
            trajectories=[_trajectory(row) for row in rows], next_page_token=token
        )


def _trajectory(row: Any) -> events_pb2.Trajectory:
    message = events_pb2.Trajectory.FromString(row["payload"])
    message.camera_id, message.epoch, message.run = row["camera_id"], row["epoch"], row["run"]
    if row["hand_over_at"] is not None and row["end_t"] > row["hand_over_at"]:
        cut(message, (to_us(row["hand_over_at"]) - to_us(row["t"])) // 1000)
    return message


def cut(message: events_pb2.Trajectory, lasts_ms: int) -> None:
    """Drop the corners later than `lasts_ms` after the start; the first corner stays."""
    kept = max(1, sum(t_ms <= lasts_ms for t_ms in accumulate(message.steps_ms)))
    seen = message.sights * kept // len(message.steps_ms)
    for name in ("steps_ms", "x", "y", "box_width", "box_height"):
        del getattr(message, name)[kept:]
    pairs = [(a, b) for a, b in zip(message.unseen[::2], message.unseen[1::2], strict=True) if b < kept]
    joined = [corner for corner in message.joined if corner < kept]
    message.ClearField("unseen")
    message.ClearField("joined")
    message.unseen.extend(index for pair in pairs for index in pair)
    message.joined.extend(joined)
    message.sights, message.continues = max(1, seen), False
