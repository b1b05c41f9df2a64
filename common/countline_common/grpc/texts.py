"""The check of every text, time and number that comes from outside, at the edge: in gRPC's interceptor and in REST.

PostgreSQL stores no NUL, terminals obey control characters, a text without a limit costs memory in every log and every
error, and comparisons with NaN pass checks. So no service has to think of them.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from countline_common.errors import FieldProblem, InvalidInputError

LONGEST_TEXT: Final = 65_536
"""Characters of one text; single fields have lower limits of their own."""
LONGEST_ID: Final = 1_024
"""Characters of a text whose field is an id, a name or a token."""
FIRST_S: Final = -62_135_510_400
END_S: Final = 253_370_764_800
"""Unix seconds of 0001-01-02 and of 9999-01-01: Python's times, with a day to spare for time zones and arithmetic."""
MOST_PROBLEMS: Final = 20

# Tab and line breaks are text: comments and the truth of clips have several lines.
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_IDS: Final = ("_id", "_ids", "name", "username", "instance", "backend", "version", "time_zone")


def check_texts(message: Message) -> None:
    """Check every text, time and number of a message, at any depth.

    Raises:
        InvalidInputError: names the fields that hold a forbidden character, are too long, out of range, or not finite.
    """
    problems = []
    for problem in text_problems(message):
        problems.append(problem)
        if len(problems) == MOST_PROBLEMS:
            break
    if problems:
        raise InvalidInputError("the request is invalid", fields=tuple(problems))


def text_problems(message: Message, prefix: str = "") -> Iterator[FieldProblem]:
    """Yield what is wrong with the texts, times and numbers of a message."""
    for descriptor, value in message.ListFields():
        path = f"{prefix}{descriptor.name}"
        if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
            yield from _map_problems(value, path)
        elif descriptor.is_repeated:
            for i, item in enumerate(value):
                yield from _value_problems(descriptor, item, f"{path}[{i}]")
        else:
            yield from _value_problems(descriptor, value, path)


def _value_problems(descriptor: FieldDescriptor, value: Any, path: str) -> Iterator[FieldProblem]:
    if isinstance(value, Timestamp):
        if not FIRST_S <= value.seconds < END_S or not 0 <= value.nanos < 1_000_000_000:
            yield FieldProblem(path, "must be a time in the years 1 to 9998")
    elif descriptor.message_type is not None:
        yield from text_problems(value, f"{path}.")
    elif descriptor.type == FieldDescriptor.TYPE_STRING:
        limit = LONGEST_ID if descriptor.name.endswith(_IDS) else LONGEST_TEXT
        if problem := text_problem(value, limit):
            yield FieldProblem(path, problem)
    elif isinstance(value, float) and not math.isfinite(value):
        yield FieldProblem(path, "must be a finite number")


def _map_problems(entries: Any, path: str) -> Iterator[FieldProblem]:
    for key, value in entries.items():
        for text in (key, value):
            if isinstance(text, str) and (problem := text_problem(text)):
                yield FieldProblem(path, problem)
            elif isinstance(text, Message):
                yield from text_problems(text, f"{path}.")


def text_problem(text: str, limit: int = LONGEST_TEXT) -> str:
    """What is wrong with a text; empty if it can be used."""
    if len(text) > limit:
        return f"has {len(text)} characters; {limit} is the limit"
    if found := _FORBIDDEN.search(text):
        return f"contains the control character U+{ord(found[0]):04X}; leave it out"
    return ""


def escaped(text: str) -> str:
    r"""A text of which the forbidden characters are written as escapes, for messages of our own to services.

    >>> escaped("a\x1b[31m")
    'a\\x1b[31m'
    """
    return _FORBIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)
