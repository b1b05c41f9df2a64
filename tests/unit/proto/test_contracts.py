"""The contracts hold what gateway and interceptor derive from them."""

import re

import pytest
from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from countline.v1 import auth_pb2, cameras_pb2, counts_pb2, models_pb2, options_pb2
from countline_analytics.api.services import contract_files
from countline_common.access.vocabulary import Permission

METHODS = [
    method for file in contract_files() for service in file.services_by_name.values() for method in service.methods
]
REST_MESSAGES = [
    message
    for module in (auth_pb2, cameras_pb2, counts_pb2, models_pb2)
    for message in module.DESCRIPTOR.message_types_by_name.values()
]
WIDE = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_method_names_a_permission_or_is_public_on_purpose(method: MethodDescriptor) -> None:
    options = method.GetOptions().Extensions
    permission, public = options[options_pb2.permission], options[options_pb2.public]
    assert bool(permission) != public
    if permission:
        assert permission in set(Permission), f"{permission!r} is not in the vocabulary"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_method_with_a_permission_says_how_its_resource_is_found(method: MethodDescriptor) -> None:
    options = method.GetOptions().Extensions
    rule = options[options_pb2.resource]
    if not options[options_pb2.permission]:
        assert not rule.ListFields()
        return
    found = {field.name for field, _ in rule.ListFields()}
    assert found in ({"site"}, {"camera"}, {"filtered"}, {"camera", "filtered"}, {"everything"}, {"own"})
    assert not method.client_streaming or found <= {"everything", "own"}, "the messages of a stream name no resource"
    for path in filter(None, (rule.site, rule.camera)):
        message = method.input_type
        *parents, last = path.split(".")
        for parent in parents:
            message = message.fields_by_name[parent].message_type
        assert message.fields_by_name[last].type == FieldDescriptor.TYPE_STRING


GRPC_ONLY = {
    "countline.v1.WorkerService.ListCameraObservations",
    "countline.v1.ModelService.ListServing",
    "countline.v1.KeyService.ExchangeKey",
    "countline.v1.OidcService.StartOidcLogin",
    "countline.v1.OidcService.FinishOidcLogin",
}
"""What services ask each other; a browser gets it as part of something else, such as the gateway's own routes."""


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_unary_method_has_a_route_below_the_versioned_path(method: MethodDescriptor) -> None:
    if method.client_streaming or method.server_streaming or method.full_name in GRPC_ONLY:
        return
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    path = getattr(rule, rule.WhichOneof("pattern"))
    assert path.startswith("/api/v1/")


def test_no_two_methods_share_a_route() -> None:
    routes = []
    for method in METHODS:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        if verb := rule.WhichOneof("pattern"):
            routes.append((verb, re.sub(r"\{[^}]+\}", "{}", getattr(rule, verb))))
    assert len(routes) == len(set(routes))


def test_numbers_of_rest_are_numbers_in_json() -> None:
    # Proto JSON writes 64-bit integers as strings, which charts then add up as text.
    wide = [field.full_name for message in REST_MESSAGES for field in message.fields if field.type in WIDE]
    assert wide == []


def rule_of(method: MethodDescriptor) -> http_pb2.HttpRule:
    return method.GetOptions().Extensions[annotations_pb2.http]


OPENED = [method for method in METHODS if rule_of(method).WhichOneof("pattern")]


@pytest.mark.parametrize("method", OPENED, ids=lambda method: method.full_name)
def test_an_answer_that_holds_one_resource_is_that_resource(method: MethodDescriptor) -> None:
    """`data` was `{"camera": {...}}` here and the fields themselves there."""
    if method.name == "RefreshToken":  # answers as Login does, so that a client reads both alike
        return
    fields = method.output_type.fields
    single = len(fields) == 1 and fields[0].message_type is not None and not fields[0].is_repeated
    assert rule_of(method).response_body == (fields[0].name if single else "")


@pytest.mark.parametrize("method", OPENED, ids=lambda method: method.full_name)
def test_a_body_is_the_resource_itself(method: MethodDescriptor) -> None:
    """POST /sites took `{"site": {...}}`, POST /cameras the camera itself."""
    if rule_of(method).body == "*":
        assert not [field.name for field in method.input_type.fields if field.message_type and not field.is_repeated]
