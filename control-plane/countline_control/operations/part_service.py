"""The gRPC service of running parts and their migrations."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from countline.v1 import parts_pb2, parts_pb2_grpc
from countline.v1.parts_pb2 import PART_STATE_LOST, Part, PartReport
from countline_common.data.bus import PARTS
from countline_common.grpc.calls import Context
from countline_common.grpc.server import Service
from countline_common.logs import get_logger
from countline_common.times import to_timestamp
from countline_control.operations.message_streams import message_streams
from countline_control.operations.streams import OpenJetStream, answering, connected, read_last

NAME: Final = "countline.v1.PartService"
LOST_AFTER_S: Final = 10.0
LONGEST_S: Final = 10.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SeenReport:
    """A report, and when NATS received it."""

    report: PartReport
    seen_at: float
    """Unix seconds, by the clock of NATS."""


class PartService(parts_pb2_grpc.PartServiceServicer):
    """Answers `countline.v1.PartService`.

    Args:
        jetstream: returns the connection to NATS; None while NATS is away.
    """

    def __init__(self, jetstream: OpenJetStream) -> None:
        self._jetstream = jetstream

    def as_service(self) -> Service:
        """Describe this service to a gRPC server."""
        return Service(NAME, lambda server: parts_pb2_grpc.add_PartServiceServicer_to_server(self, server), self._check)

    async def ListParts(self, request: parts_pb2.ListPartsRequest, context: Context) -> parts_pb2.ListPartsResponse:
        return parts_pb2.ListPartsResponse(parts=running_parts(await self._reports()))

    async def ListMigrations(
        self, request: parts_pb2.ListMigrationsRequest, context: Context
    ) -> parts_pb2.ListMigrationsResponse:
        reports = await self._reports()
        newest = _newest(reports)
        found = [each for seen in reports if not _is_lost(seen, newest) for each in seen.report.migrations]
        found.sort(key=lambda each: (each.schema, each.part, each.machine))
        return parts_pb2.ListMigrationsResponse(migrations=found)

    async def ListMessageStreams(
        self, request: parts_pb2.ListMessageStreamsRequest, context: Context
    ) -> parts_pb2.ListMessageStreamsResponse:
        with answering():
            async with asyncio.timeout(LONGEST_S):
                found = await message_streams(connected(self._jetstream))
        return parts_pb2.ListMessageStreamsResponse(streams=found)

    async def _reports(self) -> list[SeenReport]:
        found = []
        with answering():
            async with (
                asyncio.timeout(LONGEST_S),
                aclosing(read_last(connected(self._jetstream), PARTS, "countline.parts.>")) as messages,
            ):
                async for message in messages:
                    try:
                        report = PartReport.FromString(message.data)
                    except DecodeError:
                        _log.warning("parts.undecodable", subject=message.subject)
                        continue
                    found.append(SeenReport(report, message.metadata.timestamp.timestamp()))
        return found

    async def _check(self) -> None:
        connected(self._jetstream)


def running_parts(reports: list[SeenReport]) -> list[Part]:
    """Return the parts in order of name and instance. One that has been silent for too long is lost. Pure.

    The newest report stands for the present: the part that answers reports itself every two seconds. So no clock of two
    machines is compared.
    """
    newest = _newest(reports)
    found = []
    for seen in reports:
        part = Part()
        part.CopyFrom(seen.report.part)
        part.seen_at.CopyFrom(to_timestamp(seen.seen_at))
        if _is_lost(seen, newest):
            part.state = PART_STATE_LOST
        found.append(part)
    return sorted(found, key=lambda part: (part.name, part.instance, part.machine))


def _newest(reports: list[SeenReport]) -> float:
    return max((seen.seen_at for seen in reports), default=0.0)


def _is_lost(seen: SeenReport, newest: float) -> bool:
    return newest - seen.seen_at > LOST_AFTER_S
