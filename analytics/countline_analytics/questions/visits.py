"""ListVisits: stays of objects in zones."""

from typing import Any

from countline.v1 import counts_pb2
from countline_analytics.instants import to_proto
from countline_analytics.questions.answers import Questions
from countline_analytics.questions.asked import asked_cameras, asked_limits
from countline_analytics.questions.callers import Caller
from countline_analytics.questions.paging import read_page


class VisitQueries(Questions):
    """Lists visits."""

    async def list_visits(self, request: counts_pb2.ListVisitsRequest, caller: Caller) -> counts_pb2.ListVisitsResponse:
        """Return a page of visits, newest end first. The end of a visit decides its order and the time limits."""
        cameras = await asked_cameras(self._directory, caller, request.camera_id, zone_id=request.zone_id)
        rows, token = await read_page(
            self._engine,
            "list_visits",
            request,
            camera_ids=[camera.camera_id for camera in cameras],
            zone_id=request.zone_id,
            **asked_limits(request),
        )
        return counts_pb2.ListVisitsResponse(visits=[_visit(row) for row in rows], next_page_token=token)


def _visit(row: Any) -> counts_pb2.CameraVisit:
    return counts_pb2.CameraVisit(
        camera_id=row["camera_id"],
        visit_id=row["event_id"].hex,
        zone_id=row["zone_id"],
        zone_version=row["zone_version"],
        class_name=row["class_name"],
        entered_at=to_proto(row["entered_at"]),
        left_at=None if row["lost_inside"] else to_proto(row["t"]),
        dwell_s=row["dwell_s"],
        born_inside=row["born_inside"],
        lost_inside=row["lost_inside"],
        queue=row["queue"],
    )
