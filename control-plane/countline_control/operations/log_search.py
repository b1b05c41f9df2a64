"""Finds log lines in the stream LOGS: the newest that match, or those that came after an earlier answer.

A message of the stream holds the lines that one part logged in a second. The search for the newest lines reads spans of
messages from the end backwards, each four times as long as the one before, so that a small answer costs little.
"""

import re
import time
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from countline.v1.logs_pb2 import LogBatch, LogLine
from countline_common.data.bus import LOGS, logs_subject
from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.logbook.lines import LineFilter
from countline_common.logs import get_logger
from countline_common.times import from_timestamp
from countline_control.operations.streams import read_span

FIRST_SPAN: Final = 32
MOST_MESSAGES: Final = 50_000
"""Read for one answer."""
LONGEST_S: Final = 5.0
MOST_BYTES: Final = 2 * 1024 * 1024
"""Of the lines of one answer; gRPC takes messages of 4 MiB."""
_CURSOR: Final = re.compile(r"(\d{1,18})\.(\d{1,9})")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The line at which the next answer begins."""

    sequence: int
    """Of the message in the stream."""
    line: int = 0
    """Index in the message."""

    def __str__(self) -> str:
        return f"{self.sequence}.{self.line}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read a cursor.

        Raises:
            InvalidInputError: it is none.
        """
        match = _CURSOR.fullmatch(text)
        if match is None:
            problem = FieldProblem("after", "is not one that this service gave; begin without one")
            raise InvalidInputError("the place to continue is not valid", fields=(problem,))
        return cls(int(match[1]), int(match[2]))


@dataclass(slots=True)
class FoundLines:
    """An answer."""

    next: Cursor
    lines: list[LogLine] = field(default_factory=list)
    incomplete: bool = False
    dropped: int = 0


class LogSearch:
    """One search in the stream.

    Args:
        jetstream: the connection to NATS.
        wanted: the filter.
        most: number of lines.
    """

    def __init__(self, jetstream: JetStreamContext, wanted: LineFilter, most: int) -> None:
        self._jetstream = jetstream
        self._wanted = wanted
        self._most = most
        self._subject = logs_subject(wanted.part) if wanted.part else "countline.logs.>"
        self._read = 0
        self._until = time.monotonic() + LONGEST_S

    async def newest(self) -> FoundLines:
        """Return the newest lines, in order of time."""
        first, end = await self._bounds()
        found, width = FoundLines(Cursor(end + 1)), FIRST_SPAN
        while end >= first and len(found.lines) < self._most:
            if self._is_over:
                found.incomplete = True
                break
            begin = max(first, end - width + 1)
            lines, reached_start = await self._span(begin, end, found)
            found.lines = [*lines, *found.lines]
            if reached_start:
                break
            end, width = begin - 1, width * 4
        found.lines.sort(key=_time_of)
        found.lines = _within(found.lines[-self._most :])
        return found

    async def _span(self, begin: int, end: int, found: FoundLines) -> tuple[deque[LogLine], bool]:
        """Return the newest lines of a span, and whether the span reaches back before the wanted time."""
        lines: deque[LogLine] = deque(maxlen=self._most)
        reached_start = False
        async with aclosing(read_span(self._jetstream, LOGS, self._subject, begin, end)) as messages:
            async for message in messages:
                self._read += 1
                batch = batch_of(message)
                found.dropped += batch.dropped
                lines.extend(line for line in batch.lines if self._wanted.accepts(line))
                # A line is published after it was logged.
                reached_start |= message.metadata.timestamp.timestamp() < self._wanted.start_s
        return lines, reached_start

    async def following(self, cursor: Cursor) -> FoundLines:
        """Return the lines from a cursor on, the oldest first."""
        first, last = await self._bounds()
        if not first <= cursor.sequence <= last + 1:
            cursor = Cursor(first)  # dropped meanwhile, or the stream is a new one
        found = FoundLines(Cursor(last + 1))
        if cursor.sequence > last:
            return found
        size = 0
        async with aclosing(read_span(self._jetstream, LOGS, self._subject, cursor.sequence, last)) as messages:
            async for message in messages:
                self._read += 1
                batch, sequence = batch_of(message), message.metadata.sequence.stream
                begin = cursor.line if sequence == cursor.sequence else 0
                found.dropped += 0 if begin else batch.dropped
                for index, line in enumerate(batch.lines[begin:], begin):
                    if len(found.lines) == self._most or size > MOST_BYTES:
                        found.next = Cursor(sequence, index)
                        return found
                    if self._wanted.accepts(line):
                        found.lines.append(line)
                        size += line.ByteSize()
                if self._is_over:
                    found.next = Cursor(sequence + 1)
                    return found
        return found

    @property
    def _is_over(self) -> bool:
        return self._read >= MOST_MESSAGES or time.monotonic() > self._until

    async def _bounds(self) -> tuple[int, int]:
        """Return the first and the last sequence of the stream; the last is smaller if the stream is empty."""
        state = (await self._jetstream.stream_info(LOGS)).state
        return state.first_seq, state.last_seq


def batch_of(message: Msg) -> LogBatch:
    """Decode a message; an empty batch, with a log line, if that is impossible."""
    try:
        return LogBatch.FromString(message.data)
    except DecodeError:
        _log.warning("logs.undecodable", subject=message.subject)
        return LogBatch()


def _time_of(line: LogLine) -> float:
    return from_timestamp(line.at)


def _within(lines: list[LogLine]) -> list[LogLine]:
    """Return the newest lines that fit into an answer."""
    size, kept = 0, 0
    for line in reversed(lines):
        size += line.ByteSize()
        if size > MOST_BYTES:
            break
        kept += 1
    return lines[len(lines) - kept :]
