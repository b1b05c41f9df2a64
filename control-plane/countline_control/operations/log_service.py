"""The gRPC service of log lines."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import asyncio
from typing import Final

from countline.v1 import logs_pb2, logs_pb2_grpc
from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.grpc.calls import Context
from countline_common.grpc.paging import page
from countline_common.grpc.server import Service
from countline_common.logbook.lines import LineFilter, masked
from countline_common.times import from_timestamp
from countline_control.operations.log_search import Cursor, LogSearch
from countline_control.operations.streams import OpenJetStream, answering, connected

NAME: Final = "countline.v1.LogService"
MOST_SEARCHES: Final = 2
"""At the same time; others wait."""
LONGEST_S: Final = 12.0
LONGEST_FILTER: Final = 200


class LogService(logs_pb2_grpc.LogServiceServicer):
    """Answers `countline.v1.LogService`.

    Args:
        jetstream: returns the connection to NATS; None while NATS is away.
    """

    def __init__(self, jetstream: OpenJetStream) -> None:
        self._jetstream = jetstream
        self._turns = asyncio.Semaphore(MOST_SEARCHES)

    def as_service(self) -> Service:
        """Describe this service to a gRPC server."""
        return Service(NAME, lambda server: logs_pb2_grpc.add_LogServiceServicer_to_server(self, server), self._check)

    async def ListLogLines(
        self, request: logs_pb2.ListLogLinesRequest, context: Context
    ) -> logs_pb2.ListLogLinesResponse:
        wanted, size = _filter(request), page(request.page_size, "").size
        cursor = Cursor.parse(request.after) if request.after else None
        with answering():
            async with asyncio.timeout(LONGEST_S), self._turns:
                search = LogSearch(connected(self._jetstream), wanted, size)
                found = await (search.newest() if cursor is None else search.following(cursor))
        return logs_pb2.ListLogLinesResponse(
            lines=map(masked, found.lines),
            next_after=str(found.next),
            incomplete=found.incomplete,
            dropped=found.dropped,
        )

    async def _check(self) -> None:
        connected(self._jetstream)


def _filter(request: logs_pb2.ListLogLinesRequest) -> LineFilter:
    names = ("part", "level", "request_id", "camera_id", "text")
    if long := [name for name in names if len(getattr(request, name)) > LONGEST_FILTER]:
        problems = tuple(FieldProblem(name, f"has more than {LONGEST_FILTER} characters") for name in long)
        raise InvalidInputError("a filter is too long", fields=problems)
    return LineFilter(
        request.part,
        request.level,
        request.request_id,
        request.camera_id,
        request.text,
        from_timestamp(request.start) if request.HasField("start") else float("-inf"),
        from_timestamp(request.end) if request.HasField("end") else float("inf"),
    )
