"""Log lines as messages: read from the JSON that a process logs, masked, and compared with filters. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from countline.v1.logs_pb2 import LogLine
from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.logs import bounded
from countline_common.redaction import redact
from countline_common.times import from_timestamp, to_timestamp

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
LONGEST_VALUE: Final = 1_000
LONGEST_EXCEPTION: Final = 8_000
MOST_FIELDS: Final = 30
_OWN_FIELDS: Final = frozenset(
    {"event", "level", "logger", "timestamp", "process", "request_id", "camera", "camera_id", "exception"}
)


def line_of(text: str, part: str, machine: str) -> LogLine | None:
    """Read a line that a process logged as JSON; None if it is no such line.

    Args:
        text: one JSON object.
        part: that logged it, such as `worker`.
        machine: on which the part runs.
    """
    try:
        event = json.loads(text)
        at = datetime.fromisoformat(event["timestamp"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    others = {name: value for name, value in event.items() if name not in _OWN_FIELDS}
    return LogLine(
        at=to_timestamp(at.timestamp()),
        part=part,
        machine=machine,
        level=_word(event, "level"),
        event=_word(event, "event"),
        request_id=_word(event, "request_id"),
        camera_id=_word(event, "camera_id") or _word(event, "camera"),
        logger=_word(event, "logger"),
        fields={_safe(name, LONGEST_VALUE): _shown(value) for name, value in islice(others.items(), MOST_FIELDS)},
        exception=_safe(str(event.get("exception", "")), LONGEST_EXCEPTION),
    )


def _word(event: Mapping[str, Any], name: str) -> str:
    return _shown(event.get(name, ""))


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _safe(text, LONGEST_VALUE)


def _safe(text: str, longest: int) -> str:
    # Redacted before it is cut: a cut address could lose the sign by which its secret is found. Protobuf takes no half
    # of a surrogate pair.
    return bounded(redact(text.encode(errors="replace").decode()), longest)


def masked(line: LogLine) -> LogLine:
    """Return a line with its secrets masked once more: a part of another release may know fewer kinds of secrets."""
    copy = LogLine()
    copy.CopyFrom(line)
    for name in ("event", "request_id", "camera_id", "logger", "exception"):
        setattr(copy, name, redact(getattr(line, name)))
    for name, value in line.fields.items():
        copy.fields[name] = redact(value)
    return copy


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines are wanted; an empty text accepts all."""

    part: str = ""
    level: str = ""
    """The least level."""
    request_id: str = ""
    camera_id: str = ""
    text: str = ""
    start_s: float = float("-inf")
    """Unix seconds."""
    end_s: float = float("inf")
    """Unix seconds of the first moment behind the span."""

    def __post_init__(self) -> None:
        """Check the level.

        Raises:
            InvalidInputError: there is no such level.
        """
        if self.level and self.level not in LEVELS:
            problem = FieldProblem("level", f"must be one of: {', '.join(LEVELS)}")
            raise InvalidInputError(f"there is no level {self.level[:50]!r}", fields=(problem,))

    def accepts(self, line: LogLine) -> bool:
        """Whether a line is wanted."""
        if self.part not in ("", line.part) or self.request_id not in ("", line.request_id):
            return False
        if self.camera_id not in ("", line.camera_id) or _rank(line.level) < _rank(self.level):
            return False
        return self.start_s <= from_timestamp(line.at) < self.end_s and self._has_text(line)

    def _has_text(self, line: LogLine) -> bool:
        if not self.text:
            return True
        wanted = self.text.casefold()
        whole = (line.event, line.logger, line.exception, *(f"{name}={value}" for name, value in line.fields.items()))
        return any(wanted in each.casefold() for each in whole)


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else 0
