"""The fields in which two messages differ, as an audit row shows them: without secrets, and with bounds.

Secrets are compared and never shown: a changed password is a change from `***` to `***`.
"""

import base64
import json
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from countline.v1 import audit_pb2
from countline_common.redaction import MASK, redact, redact_address
from countline_common.times import from_timestamp, rfc3339

MOST_CHANGES: Final = 200
LONGEST_VALUE: Final = 500
"""Characters of a value that a row shows."""
_SECRET: Final = re.compile(
    r"(^|_)(password|passphrase|secret|token|credential|otp|totp|code|codes|pin|key|hash|cookie|signature)s?$"
)
"""Names of fields whose texts are secrets. An id is none: `key_id`."""
_ADDRESS: Final = re.compile(r"(^|_)(url|uri|address)$")


def changes(before: Message | None, after: Message | None) -> tuple[list[audit_pb2.FieldChange], int]:
    """Return the fields that differ between two messages, and how many more were left out.

    Args:
        before: the state before; None if the thing is new.
        after: the state after; None if the thing is gone.
    """
    found = [
        audit_pb2.FieldChange(path=path, before=_shown(old, field), after=_shown(new, field))
        for path, field, old, new in _differences(before, after, "")
    ]
    return found[:MOST_CHANGES], max(0, len(found) - MOST_CHANGES)


_Difference = tuple[str, FieldDescriptor, Any, Any]


def _differences(before: Message | None, after: Message | None, prefix: str) -> Iterator[_Difference]:
    shown = after if after is not None else before
    fields = cast("Sequence[FieldDescriptor]", shown.DESCRIPTOR.fields if shown is not None else ())
    for field in fields:
        old, new = _value(before, field), _value(after, field)
        if old != new:
            yield from _of_field(field, old, new, f"{prefix}{field.name}")


def _of_field(field: FieldDescriptor, old: Any, new: Any, path: str) -> Iterator[_Difference]:
    if not _holds_messages(field):
        yield path, field, old, new
    elif not field.is_repeated:
        yield from _differences(old, new, f"{path}.")
    else:
        for i, (one, other) in enumerate(zip_longest(old or (), new or ())):
            if one != other:
                yield from _differences(one, other, f"{path}[{i}].")


def _holds_messages(field: FieldDescriptor) -> bool:
    """Whether the messages of a field are compared field by field. Moments and maps are values."""
    kind = field.message_type
    return kind is not None and not kind.GetOptions().map_entry and kind.full_name != Timestamp.DESCRIPTOR.full_name


def _value(message: Message | None, field: FieldDescriptor) -> Any:
    """Return the value of a field; None if it is not set."""
    if message is None:
        return None
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value) or None
    if field.is_repeated:
        return list(value) or None
    if field.has_presence:
        return value if message.HasField(field.name) else None
    return value or None


def _shown(value: Any, field: FieldDescriptor) -> str:
    if value is None:
        return ""
    text = json.dumps(_plain(value, field), ensure_ascii=False, sort_keys=True)
    return text if len(text) <= LONGEST_VALUE else json.dumps(text[:LONGEST_VALUE] + " …", ensure_ascii=False)


def _plain(value: Any, field: FieldDescriptor) -> Any:
    if isinstance(value, dict):
        return {str(key): _masked(str(each), str(key)) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(each, field) for each in value]
    if isinstance(value, str):
        return _masked(value, field.name)
    return _plain_scalar(value, field)


def _plain_scalar(value: Any, field: FieldDescriptor) -> Any:
    if isinstance(value, Timestamp):
        return rfc3339(from_timestamp(value))
    if isinstance(value, bytes):
        return MASK if _SECRET.search(field.name) else base64.b64encode(value).decode()
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    return value


def _masked(text: str, name: str) -> str:
    if _SECRET.search(name):
        return MASK
    return redact_address(text) if _ADDRESS.search(name) else redact(text)
