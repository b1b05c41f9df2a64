"""QueryFlows: how many objects went from one line or zone to another.

The rule is that of the data plane: the origin of an object is the first line or zone that it met, its destination the
last one. An object counts in the time span in which it met its destination, so adjacent spans add up.
"""

from datetime import timedelta
from typing import Any, Final

from countline.v1 import counts_pb2
from countline_analytics.instants import to_us, utc_now
from countline_analytics.questions.answers import Questions
from countline_analytics.questions.asked import asked_cameras, asked_span
from countline_analytics.questions.callers import Caller
from countline_analytics.questions.counts import read_coverage
from countline_analytics.questions.coverage import Interval, covered, shares
from countline_analytics.store.sql import query
from countline_common.errors import FieldProblem, InvalidInputError

FOLLOWED: Final = timedelta(hours=1)
"""How far beyond the span the query looks for other lines and zones that an object met."""
MAX_FLOWS: Final = 10_000


class FlowQueries(Questions):
    """Answers questions about flows."""

    async def query_flows(self, request: counts_pb2.QueryFlowsRequest, caller: Caller) -> counts_pb2.QueryFlowsResponse:
        """Return the flows of one camera, and the coverage of the time span."""
        if not request.camera_id:
            raise InvalidInputError("flows need a camera", fields=(FieldProblem("camera_id", "must name a camera"),))
        (camera,) = await asked_cameras(self._directory, caller, request.camera_id)
        now = utc_now()
        start, end = asked_span(request, now)
        parameters = {
            "camera_id": camera.camera_id,
            "start": start,
            "end": end,
            "since": start - FOLLOWED,
            "until": end + FOLLOWED,
            "limit": MAX_FLOWS,
        }
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query("flows", "flows"), parameters)).all()
            spans = await read_coverage(connection, [camera.camera_id], start, end)
        span = Interval(to_us(start), to_us(end))
        (coverage,) = shares(covered(spans[camera.camera_id]), [span], to_us(now))
        return counts_pb2.QueryFlowsResponse(flows=[_flow(row) for row in rows], coverage=coverage)


def _flow(row: Any) -> counts_pb2.Flow:
    return counts_pb2.Flow(
        origin=row.origin,
        destination=row.destination,
        class_name=row.class_name,
        object_count=row.objects,
        mean_s=None if row.mean_s is None else round(row.mean_s, 6),
    )
