"""Builds the OpenAPI document of the REST interface from the descriptors of the contract."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from countline_analytics.api.remarks import remarks
from countline_analytics.api.services import Method
from countline_analytics.api.transcoding import Route, field_names
from countline_common.http.rest_json import enum_prefix, json_name

_WELL_KNOWN: Final[dict[str, dict[str, Any]]] = {
    Timestamp.DESCRIPTOR.full_name: {"type": "string", "format": "date-time"},
    Duration.DESCRIPTOR.full_name: {"type": "number", "description": "Seconds."},
    FieldMask.DESCRIPTOR.full_name: {"type": "string", "description": "Paths, separated by commas."},
}
_SCALARS: Final[dict[int, dict[str, Any]]] = {
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}
_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["success", "request_id", "errors"],
    "properties": {
        "success": {"const": False},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "field", "message", "hint"],
                "properties": {
                    "code": {"type": "string"},
                    "field": {"type": "string", "description": "The wrong field; empty if there is none."},
                    "message": {"type": "string", "description": "What is wrong."},
                    "hint": {"type": "string", "description": "What to do; may be empty."},
                },
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class WrittenRoute:
    """A public route that the gateway adds itself, since an annotation cannot describe it: it has cookies, say."""

    method: str
    path: str
    descriptor: MethodDescriptor
    """The method of the contract that the route calls."""
    parameters: Sequence[Mapping[str, Any]]
    responses: Mapping[str, Mapping[str, Any]]
    """By status; the answer of an error is added."""
    answers: tuple[Descriptor, ...] = ()
    """Messages to which `responses` refer."""


def document(methods: Iterable[Method], written: Iterable[WrittenRoute] = ()) -> dict[str, Any]:
    """Return the OpenAPI document of some methods and of routes that the gateway adds itself."""
    paths: dict[str, dict[str, Any]] = {}
    messages: dict[str, Descriptor] = {}
    for method in methods:
        for route in method.routes:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(method, route)
        for message in (method.descriptor.input_type, method.descriptor.output_type):
            _collect(message, messages)
    for added in written:
        paths.setdefault(added.path, {})[added.method.lower()] = _written(added)
        for message in added.answers:
            _collect(message, messages)
    schemas = {name: _schema(message) for name, message in sorted(messages.items())}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Countline", "version": version("countline"), "license": {"name": "Apache-2.0"}},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**schemas, "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(method: Method, route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        **_heading(method.descriptor),
        "parameters": [*_path_parameters(method, route), *_query_parameters(method, route)],
        "responses": {**_response(method, route), "default": _error_response()},
        "security": [] if method.policy.public else [{"token": []}],
    }
    if method.policy.permission:
        operation["x-permission"] = method.policy.permission
    if route.body:
        operation["requestBody"] = {"required": True, **_content(_body(method, route))}
    return operation


def _written(route: WrittenRoute) -> dict[str, Any]:
    return {
        **_heading(route.descriptor),
        "parameters": [*route.parameters],
        "responses": {**route.responses, "default": _error_response()},
        "security": [],
    }


def _heading(method: MethodDescriptor) -> dict[str, Any]:
    service: Any = method.containing_service
    heading = {"operationId": f"{service.name}.{method.name}", "tags": [service.name.removesuffix("Service")]}
    remark = _remark(service, method.name)
    return {**heading, "summary": remark} if remark else heading


def _error_response() -> dict[str, Any]:
    return {"description": "Error.", **_content({"$ref": "#/components/schemas/Error"})}


def success_content(message: Descriptor) -> dict[str, Any]:
    """Return the content of a response whose `data` is a message."""
    return _content(_success(message))


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _response(method: Method, route: Route) -> dict[str, Any]:
    """Return the response of a success, by its status."""
    message: Any = method.descriptor.output_type
    if route.response_body:
        message = message.fields_by_name[route.response_body].message_type
    content = success_content(message)
    if not method.creates(route):
        return {"200": {"description": "Success.", **content}}
    location = {"description": "Path of what was created.", "schema": {"type": "string"}}
    return {"201": {"description": "Created.", "headers": {"Location": location}, **content}}


def _success(message: Descriptor) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["success", "data"],
        "properties": {"success": {"const": True}, "data": {"$ref": f"#/components/schemas/{message.name}"}},
    }


def _body(method: Method, route: Route) -> dict[str, Any]:
    message = method.descriptor.input_type
    if route.body == "*":
        return {"$ref": f"#/components/schemas/{message.name}"}
    return _field(message.fields_by_name[route.body])


def _path_parameters(method: Method, route: Route) -> Iterator[dict[str, Any]]:
    for name, path in zip(route.parameters, route.variables, strict=True):
        descriptor: Any = method.descriptor.input_type
        *parents, last = path.split(".")
        for parent in parents:
            descriptor = descriptor.fields_by_name[parent].message_type
        schema = _field(field_names(descriptor)[last])
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(method: Method, route: Route) -> Iterator[dict[str, Any]]:
    if route.body == "*":
        return
    taken = {route.body, *(path.partition(".")[0] for path in route.variables)}
    for field in method.descriptor.input_type.fields:
        plain = field.message_type is None or field.message_type.full_name in _WELL_KNOWN
        if field.name not in taken and plain:
            yield {"name": json_name(field), "in": "query", "schema": _field(field)}


def _collect(message: Descriptor, found: dict[str, Descriptor]) -> None:
    if message.name in found or message.full_name in _WELL_KNOWN:
        return
    if not message.GetOptions().map_entry:
        found[message.name] = message
    for field in message.fields:
        if field.message_type is not None:
            _collect(field.message_type, found)


def _schema(message: Descriptor) -> dict[str, Any]:
    properties = {}
    for field in message.fields:
        remark = _remark(message, field.name)
        properties[json_name(field)] = {**_field(field), **({"description": remark} if remark else {})}
    remark = _remark(message)
    return {"type": "object", "properties": properties, **({"description": remark} if remark else {})}


def _remark(declared: Any, name: str = "") -> str:
    """Return the remark in the .proto file on a message or service, or on a member of it."""
    key = f"{declared.name}.{name}" if name else str(declared.name)
    return remarks(declared.file.name).get(key, "")


def _field(field: FieldDescriptor) -> dict[str, Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _single(field.message_type.fields_by_name["value"])}
    schema = _single(field)
    return {"type": "array", "items": schema} if field.is_repeated else schema


def _single(field: FieldDescriptor) -> dict[str, Any]:
    if field.message_type is not None:
        known = _WELL_KNOWN.get(field.message_type.full_name)
        return known or {"$ref": f"#/components/schemas/{field.message_type.name}"}
    if field.enum_type is not None:
        prefix = enum_prefix(field.enum_type)
        return {"type": "string", "enum": [value.name.removeprefix(prefix).lower() for value in field.enum_type.values]}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    return _SCALARS[field.cpp_type]
