"""Messages of the contract as JSON: the shape that REST and every `--json` option share.

Fields have their names in the .proto (snake_case) or the `json_name` that is written there; enums are lower-case words
without their prefix; times are RFC 3339; numbers are numbers; bytes are base64. A scalar is always present, a message
only if it is set.
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from countline_common.times import from_timestamp, rfc3339

_WELL_KNOWN: Final[dict[str, Callable[[Any], Any]]] = {
    Timestamp.DESCRIPTOR.full_name: lambda value: rfc3339(from_timestamp(value)),
    Duration.DESCRIPTOR.full_name: lambda value: value.seconds + value.nanos / 1e9,
}


def to_json(message: Message) -> dict[str, Any]:
    """The message as what `json.dumps` takes."""
    result: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        result[json_name(field)] = _repeated(field, value) if field.is_repeated else _value(field, value)
    return result


def _repeated(field: Any, value: Any) -> Any:
    """A map as an object in order of its keys, any other repeated field as a list."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        of_values = field.message_type.fields_by_name["value"]
        return {str(key): _value(of_values, value[key]) for key in sorted(value)}
    return [_value(field, item) for item in value]


def json_name(field: Any) -> str:
    """The name of a field, given its descriptor: its own, unless the .proto states another one."""
    words = str(field.name).split("_")
    by_default = words[0] + "".join(word[:1].upper() + word[1:] for word in words[1:])
    return str(field.name if field.json_name == by_default else field.json_name)


def enum_word(enum: Any, number: int) -> str:
    """`OBSERVED_STATE_RUNNING` as `running`; a number that no release knows as itself."""
    value = enum.values_by_number.get(number)
    return str(value.name).removeprefix(enum_prefix(enum)).lower() if value is not None else str(number)


def enum_words(enum: Any) -> dict[str, int]:
    """The values of an enum by their words, without the unspecified one: `running` for `OBSERVED_STATE_RUNNING`."""
    return {enum_word(enum, value.number): value.number for value in enum.values if value.number}


def enum_prefix(enum: Any) -> str:
    """What the values of an enum begin with, such as `OBSERVED_STATE_`."""
    name = str(enum.name)
    return "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(name)).upper() + "_"


def _value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        well_known = _WELL_KNOWN.get(field.message_type.full_name)
        return well_known(value) if well_known is not None else to_json(value)
    if field.enum_type is not None:
        return enum_word(field.enum_type, value)
    return b64encode(value).decode() if isinstance(value, bytes) else value
