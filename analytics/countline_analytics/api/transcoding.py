"""Builds the request message of a gRPC method from an HTTP request, by its `google.api.http` annotation.

Pure. Follows google/api/http.proto: path variables may name nested fields, the body is the whole message or one field,
and the query holds the remaining fields. A body that names another resource than the path is refused. A PATCH without
an update mask changes the fields that its body names. JSON has the shape that REST writes
(`countline_common.http.rest_json`): names as in the .proto, enums as lower-case words, times as RFC 3339.
"""

import base64
import binascii
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from google.api.http_pb2 import HttpRule
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.grpc.texts import MOST_PROBLEMS, escaped, text_problems
from countline_common.http.rest_json import enum_prefix, json_name
from countline_common.times import parse_rfc3339

UPDATE_MASK: Final = "update_mask"
LONGEST_NAME: Final = 100
"""Characters of a field's name in an error."""
MASK_DEPTH: Final = 2
"""Depth of a mask that is built from a body; deeper values are replaced as a whole."""

_VARIABLE: Final = re.compile(r"\{(?P<path>[\w.]+)(?:=(?P<pattern>[^{}]*))?\}")
_INTEGERS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


@dataclass(frozen=True, slots=True)
class Route:
    """An HTTP method and path that call a gRPC method."""

    method: str
    """`GET`, `POST`, …"""
    template: str
    """The annotated path, such as `/api/v1/cameras/{camera.camera_id}`."""
    body: str
    """The field that the body holds; `*` for the whole message, empty for no body."""
    response_body: str = ""
    """The field of the response that is the data of the answer; empty for the whole message."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Field paths in the template."""
        return tuple(match["path"] for match in _VARIABLE.finditer(self.template))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the variables: the last field of each path, so that all routes of a resource use the same name."""
        return tuple(path.rpartition(".")[2] for path in self.variables)

    @property
    def path(self) -> str:
        """The path with plain names, as OpenAPI writes it, such as `/api/v1/cameras/{camera_id}`."""
        return _VARIABLE.sub(lambda found: f"{{{found['path'].rpartition('.')[2]}}}", self.template)

    @property
    def aiohttp_path(self) -> str:
        """The path for aiohttp's router: plain names, and a pattern for each."""
        parts = _VARIABLE.split(self.template)
        path = parts[0]
        for name, pattern, literal in zip(self.parameters, parts[2::3], parts[3::3], strict=True):
            path += f"{{{name}:{_segments(pattern)}}}{literal}"
        return path


def _segments(pattern: str | None) -> str:
    """Return a variable's pattern as a regular expression: `*` is one segment, `**` any number."""
    if pattern is None:
        return "[^{}/]+"
    return re.escape(pattern).replace(r"\*\*", ".+").replace(r"\*", "[^{}/]+")


def routes(rule: HttpRule) -> Iterator[Route]:
    """Yield the routes of an annotation."""
    verb = rule.WhichOneof("pattern")
    if verb == "custom":
        yield Route(rule.custom.kind.upper(), rule.custom.path, rule.body, rule.response_body)
    elif verb is not None:
        yield Route(verb.upper(), getattr(rule, verb), rule.body, rule.response_body)
    for other in rule.additional_bindings:
        yield from routes(other)


class _WrongValueError(Exception):
    """A value does not fit its field; the text states the expected form."""


@dataclass(slots=True)
class _Reader:
    """Reads values into a message and collects the problems."""

    problems: list[FieldProblem] = field(default_factory=list)

    def refuse(self, path: str, message: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            # The name may be the caller's own text.
            self.problems.append(FieldProblem(escaped(path[:LONGEST_NAME]), message))

    def message(self, target: Message, value: Any, path: str) -> None:
        """Read a JSON object."""
        if not isinstance(value, dict):
            self.refuse(path, "must be an object")
            return
        names = field_names(target.DESCRIPTOR)
        for name, item in value.items():
            here = f"{path}.{name}" if path else str(name)
            if name not in names:
                self.refuse(here, "is unknown")
            elif item is not None:
                self.field(target, names[name], item, here)

    def field(self, target: Message, descriptor: FieldDescriptor, value: Any, path: str) -> None:
        """Read the value of a field."""
        if descriptor.is_repeated:
            self._list(target, descriptor, value, path)
        elif descriptor.message_type is not None:
            self._message_field(getattr(target, descriptor.name), value, path)
        else:
            parsed = self._scalar(descriptor, value, path)
            if parsed is not None:
                setattr(target, descriptor.name, parsed)

    def _list(self, target: Message, descriptor: FieldDescriptor, value: Any, path: str) -> None:
        if not isinstance(value, list):
            self.refuse(path, "must be a list")
            return
        items = getattr(target, descriptor.name)
        for i, item in enumerate(value):
            here = f"{path}[{i}]"
            if descriptor.message_type is not None:
                self._message_field(items.add(), item, here)
                continue
            parsed = self._scalar(descriptor, item, here)
            if parsed is not None:
                items.append(parsed)

    def _message_field(self, target: Message, value: Any, path: str) -> None:
        reader = _WELL_KNOWN.get(target.DESCRIPTOR.full_name)
        if reader is None:
            target.SetInParent()
            self.message(target, value, path)
            return
        problem = reader(target, value)
        if problem:
            self.refuse(path, problem)

    def _scalar(self, descriptor: FieldDescriptor, value: Any, path: str) -> Any:
        try:
            return _scalar(descriptor, value)
        except _WrongValueError as error:
            self.refuse(path, str(error))
            return None


def _raise(problems: Sequence[FieldProblem]) -> None:
    if problems:
        raise InvalidInputError("the request is invalid", fields=tuple(problems))


def build_request(
    descriptor: Descriptor,
    route: Route,
    path_values: Sequence[str],
    query: Iterable[tuple[str, str]],
    body: Any,
) -> Message:
    """Return the request message of a method.

    Args:
        descriptor: of the request message.
        route: the matched route.
        path_values: values of the route's variables, unquoted.
        query: names and values, in order.
        body: the parsed JSON body; None if there is none.

    Raises:
        InvalidInputError: lists each wrong field.
    """
    request = message_factory.GetMessageClass(descriptor)()
    reader = _Reader()
    if route.body:
        _read_body(reader, request, route, body)
    elif body is not None:
        reader.refuse("", "this request takes no body")
    for name, text in query:
        if route.body == "*" or name.partition(".")[0] == route.body:
            reader.refuse(name, "belongs in the body")
        else:
            _read_text(reader, request, name, text)
    if _wants_mask(route, descriptor) and not getattr(request, UPDATE_MASK).paths and isinstance(body, dict):
        names = field_names(getattr(request, route.body).DESCRIPTOR)
        getattr(request, UPDATE_MASK).paths.extend(_mask(body, names, set(_below(route))))
    for name, text in zip(route.variables, path_values, strict=True):
        _read_from_path(reader, request, name, text)
    _raise(reader.problems)
    problems = islice(text_problems(request), MOST_PROBLEMS)
    # The body is the resource, so its fields have no name of the message around it.
    _raise([FieldProblem(problem.field.removeprefix(f"{route.body}."), problem.message) for problem in problems])
    return request


def _read_body(reader: _Reader, request: Message, route: Route, body: Any) -> None:
    if body is None:
        reader.refuse("", "needs a JSON object as body")
    elif route.body == "*":
        reader.message(request, body, "")
    else:
        target = getattr(request, route.body)
        target.SetInParent()
        reader.message(target, body, "")


def _wants_mask(route: Route, descriptor: Descriptor) -> bool:
    return route.method == "PATCH" and route.body not in {"", "*"} and UPDATE_MASK in descriptor.fields_by_name


def _below(route: Route) -> Iterator[str]:
    """Yield the body fields that the path names: they identify the resource and do not change."""
    for path in route.variables:
        parent, _, name = path.partition(".")
        if parent == route.body:
            yield name


def _mask(body: Mapping[str, Any], names: Mapping[str, FieldDescriptor], left_out: set[str]) -> Iterator[str]:
    """Yield the paths of the fields that a body names. A null field is included, and so gets cleared."""
    for name, value in body.items():
        descriptor = names.get(name)
        if descriptor is None or descriptor.name in left_out:
            continue
        yield from _paths(descriptor, value, MASK_DEPTH)


def _paths(descriptor: FieldDescriptor, value: Any, depth: int) -> Iterator[str]:
    inner = descriptor.message_type
    whole = inner is None or descriptor.is_repeated or inner.full_name in _WELL_KNOWN
    if whole or depth == 1 or not isinstance(value, dict) or not value:
        yield descriptor.name
        return
    names = field_names(inner)
    for name, item in value.items():
        if name in names:
            yield from (f"{descriptor.name}.{path}" for path in _paths(names[name], item, depth - 1))


def _read_from_path(reader: _Reader, request: Message, name: str, text: str) -> None:
    """Read a value from the path. The body may name the resource too, as the answers do, but not another one."""
    in_body = operator.attrgetter(name)(request)
    _read_text(reader, request, name, text)
    if in_body and in_body != operator.attrgetter(name)(request):
        reader.refuse(name.rpartition(".")[2], "is not the one in the path; it cannot be changed")


def _read_text(reader: _Reader, request: Message, name: str, text: str) -> None:
    """Read a value from the path or the query into a field, which may be nested."""
    target = request
    *parents, last = name.split(".")
    for parent in parents:
        descriptor = field_names(target.DESCRIPTOR).get(parent)
        if descriptor is None or descriptor.message_type is None or descriptor.is_repeated:
            reader.refuse(name, "is unknown")
            return
        target = getattr(target, descriptor.name)
    descriptor = field_names(target.DESCRIPTOR).get(last)
    if descriptor is None or not _is_text(descriptor):
        reader.refuse(name, "is unknown")
    elif descriptor.is_repeated:
        items = getattr(target, descriptor.name)
        parsed = reader._scalar(descriptor, _from_text(descriptor, text), name)  # noqa: SLF001  (one module, one reader)
        if parsed is not None:
            items.append(parsed)
    else:
        reader.field(target, descriptor, _from_text(descriptor, text), name)


def _is_text(descriptor: FieldDescriptor) -> bool:
    """Whether one text can hold a value of a field: a scalar, or one time or duration."""
    message = descriptor.message_type
    return message is None or (message.full_name in _WELL_KNOWN and not descriptor.is_repeated)


def _from_text(descriptor: FieldDescriptor, text: str) -> Any:
    """Return a query value as its JSON value; the reader refuses a value that does not fit."""
    if descriptor.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "false": False}.get(text.lower(), text)
    if descriptor.cpp_type in _INTEGERS:
        return int(text) if re.fullmatch(r"-?\d{1,20}", text) else text
    if descriptor.cpp_type in {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}:
        try:
            return float(text)
        except ValueError:
            return text
    return text


def field_names(descriptor: Any) -> dict[str, FieldDescriptor]:
    """Return fields by their names in REST: the .proto name and the JSON name."""
    names = dict(descriptor.fields_by_name)
    names.update((json_name(each), each) for each in descriptor.fields)
    return names


def _scalar(descriptor: FieldDescriptor, value: Any) -> Any:
    """Return a JSON value as a field takes it.

    Raises:
        _WrongValueError: the value is of another kind.
    """
    if descriptor.enum_type is not None:
        return _enum(descriptor.enum_type, value)
    if descriptor.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _of_kind(value, bool, "must be true or false")
    if descriptor.cpp_type in _INTEGERS:
        return _integer(value, *_INTEGERS[descriptor.cpp_type])
    if descriptor.cpp_type in {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}:
        return _number(value)
    if descriptor.type == FieldDescriptor.TYPE_BYTES:
        return _bytes(value)
    return _text(value)


def _of_kind(value: Any, kind: type, problem: str) -> Any:
    if not isinstance(value, kind):
        raise _WrongValueError(problem)
    return value


def _text(value: Any) -> str:
    text: str = _of_kind(value, str, "must be text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _WrongValueError("must be valid UTF-8 text") from error
    return text


def _integer(value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise _WrongValueError("must be a whole number")
    if not low <= value <= high:
        raise _WrongValueError(f"must be a number from {low} to {high}")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _WrongValueError("must be a number")
    try:
        number = float(value)
    except OverflowError as error:
        raise _WrongValueError("must be a finite number") from error
    if not math.isfinite(number):
        raise _WrongValueError("must be a finite number")
    return number


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except binascii.Error as error:
        raise _WrongValueError("must be base64") from error


def _enum(enum: EnumDescriptor, value: Any) -> int:
    prefix = enum_prefix(enum)
    words = {each.name.removeprefix(prefix).lower(): each.number for each in enum.values}
    if not isinstance(value, str) or value not in words:
        # Answers have `unspecified` for a default, so it can be sent back. No caller needs to choose it.
        raise _WrongValueError(f"must be one of {', '.join(word for word in words if words[word])}")
    return words[value]


def _timestamp(target: Message, value: Any) -> str:
    assert isinstance(target, Timestamp)
    try:
        moment = parse_rfc3339(_text(value))
    except (_WrongValueError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        return "must be a time with an offset, such as 2026-03-01T12:00:00Z"
    try:
        target.FromDatetime(moment)
    except (ValueError, OverflowError):
        return "must be a time in the years 1 to 9998"
    target.SetInParent()
    return ""


def _duration(target: Message, value: Any) -> str:
    assert isinstance(target, Duration)
    try:
        seconds = _number(value)
        target.FromNanoseconds(round(seconds * 1e9))
    except (_WrongValueError, ValueError, OverflowError):
        return "must be a number of seconds"
    target.SetInParent()
    return ""


def _field_mask(target: Message, value: Any) -> str:
    assert isinstance(target, FieldMask)
    paths = value.split(",") if isinstance(value, str) else value
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        return "must be paths, separated by commas"
    target.paths.extend(path.strip() for path in paths if path.strip())
    return ""


_WELL_KNOWN: Final[Mapping[str, Callable[[Message, Any], str]]] = {
    Timestamp.DESCRIPTOR.full_name: _timestamp,
    Duration.DESCRIPTOR.full_name: _duration,
    FieldMask.DESCRIPTOR.full_name: _field_mask,
}
"""Readers of messages that stand for one value; each returns a problem, or an empty text."""
