"""`countline.v1.CountService`, answered within the API process."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from countline_analytics.counts.callers import Caller
from countline_analytics.counts.query import CountQueries
from countline_analytics.counts.truth import Truths

Handler = Callable[[Any, Caller], Awaitable[Any]]
"""Takes a method's request message and who asks, and gives its response message."""


def handlers(queries: CountQueries, truths: Truths) -> Mapping[str, Handler]:
    """The methods of the service by name."""
    return {
        "QueryCounts": queries.query_counts,
        "ListCrossings": queries.list_crossings,
        "CreateTruthSet": truths.create_truth_set,
        "ListTruthSets": truths.list_truth_sets,
        "DeleteTruthSet": truths.delete_truth_set,
        "VerifyCounts": truths.verify_counts,
    }
