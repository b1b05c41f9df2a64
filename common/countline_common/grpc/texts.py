"""The check of every text, time and number that comes from outside, at the edge: in gRPC's interceptor and in REST.

PostgreSQL stores no NUL, terminals obey control characters, a text without a limit costs memory in every log and every
error, and comparisons with NaN pass checks. So no service has to think of them.
"""

import math
import re
import unicodedata
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

# Tab and line breaks are text: comments and the truth of clips have several lines. Overrides of the direction of
# writing are not: they let a text look like another one.
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_IDS: Final = ("_id", "_ids", "name", "names", "username", "instance", "backend", "version", "time_zone", "labels")
_JOINERS: Final = "\u200c\u200d"
"""Persian and the scripts of India write words with them, and emoji are joined by the second."""


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
        if problem := name_problem(value) if descriptor.name.endswith(_IDS) else text_problem(value):
            yield FieldProblem(path, problem)
    elif isinstance(value, float) and not math.isfinite(value):
        yield FieldProblem(path, "must be a finite number")


def _map_problems(entries: Any, path: str) -> Iterator[FieldProblem]:
    for key, value in entries.items():
        if isinstance(key, str) and (problem := name_problem(key)):
            yield FieldProblem(path, problem)
        if isinstance(value, str) and (problem := text_problem(value)):
            yield FieldProblem(path, problem)
        elif isinstance(value, Message):
            yield from text_problems(value, f"{path}.")


def text_problem(text: str, limit: int = LONGEST_TEXT) -> str:
    """What is wrong with a text; empty if it can be used."""
    if len(text) > limit:
        return f"has {len(text)} characters; {limit} is the limit"
    if found := _FORBIDDEN.search(text):
        return f"contains the control character U+{ord(found[0]):04X}; leave it out"
    return ""


def name_problem(text: str, limit: int = LONGEST_ID) -> str:
    """What is wrong with a name, which is one line; empty if it can be used."""
    if text.isprintable() and len(text) <= limit:
        return ""
    if problem := text_problem(text, limit):
        return problem
    if found := next((character for character in text if not is_of_name(character)), ""):
        return f"contains the control character U+{ord(found):04X}; leave it out"
    return ""


def is_of_name(character: str) -> bool:
    """Whether a name may hold a character: letters, signs, blanks of any script, and joiners, which scripts need.

    Other invisible characters can reorder or hide what stands beside them, or begin a line of their own.
    """
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


def escaped(text: str) -> str:
    r"""A text of which the forbidden characters are written as escapes, for messages of our own to services.

    >>> escaped("a\x1b[31m")
    'a\\x1b[31m'
    """
    return _FORBIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)
