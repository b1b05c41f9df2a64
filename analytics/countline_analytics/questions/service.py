"""`countline.v1.CountService`, answered within the API process."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from countline_analytics.directory import CameraDirectory
from countline_analytics.questions.callers import Caller
from countline_analytics.questions.counts import CountQueries
from countline_analytics.questions.flows import FlowQueries
from countline_analytics.questions.occupancy import OccupancyQueries
from countline_analytics.questions.trajectories import TrajectoryQueries
from countline_analytics.questions.truth import Truths
from countline_analytics.questions.visits import VisitQueries
from countline_common.data.outbox import Outbox

Handler = Callable[[Any, Caller], Awaitable[Any]]
"""Takes the request message of a method and the caller; returns the response message."""


def make_handlers(engine: AsyncEngine, directory: CameraDirectory, outbox: Outbox) -> Mapping[str, Handler]:
    """Return the methods of the service by name.

    Args:
        engine: connects to the analytics database.
        directory: looks up cameras, lines and zones.
        outbox: takes the audit rows of changes.
    """
    queries, truths = CountQueries(engine, directory), Truths(engine, directory, outbox)
    return {
        "QueryCounts": queries.query_counts,
        "ListCrossings": queries.list_crossings,
        "QueryOccupancy": OccupancyQueries(engine, directory).query_occupancy,
        "QueryFlows": FlowQueries(engine, directory).query_flows,
        "ListTrajectories": TrajectoryQueries(engine, directory).list_trajectories,
        "ListVisits": VisitQueries(engine, directory).list_visits,
        "CreateTruthSet": truths.create_truth_set,
        "GetTruthSet": truths.get_truth_set,
        "ListTruthSets": truths.list_truth_sets,
        "DeleteTruthSet": truths.delete_truth_set,
        "VerifyCounts": truths.verify_counts,
    }
