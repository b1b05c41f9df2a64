"""Every method of every service, called without a token and by a viewer, an admin and a worker."""

import grpc
import pytest
from google.protobuf import message_factory

from countline.v1 import (
    act_pb2,
    administration_pb2,
    audit_pb2,
    auth_pb2,
    cameras_pb2,
    factor_pb2,
    keys_pb2,
    logs_pb2,
    models_pb2,
    oidc_pb2,
    parts_pb2,
    registration_pb2,
    secrets_pb2,
    workers_pb2,
)
from countline_common.access.vocabulary import PEOPLE
from countline_common.grpc.permissions import OPEN_SERVICES, method_policy
from countline_control.auth.access.roles import BUILT_IN

from .conftest import Control

SERVICES = {
    "acting": act_pb2.DESCRIPTOR.services_by_name["ActingService"],
    "administration": administration_pb2.DESCRIPTOR.services_by_name["AdministrationService"],
    "audit": audit_pb2.DESCRIPTOR.services_by_name["AuditService"],
    "auth": auth_pb2.DESCRIPTOR.services_by_name["AuthService"],
    "factor": factor_pb2.DESCRIPTOR.services_by_name["FactorService"],
    "keys": keys_pb2.DESCRIPTOR.services_by_name["KeyService"],
    "logs": logs_pb2.DESCRIPTOR.services_by_name["LogService"],
    "parts": parts_pb2.DESCRIPTOR.services_by_name["PartService"],
    "oidc": oidc_pb2.DESCRIPTOR.services_by_name["OidcService"],
    "cameras": cameras_pb2.DESCRIPTOR.services_by_name["CameraService"],
    "models": models_pb2.DESCRIPTOR.services_by_name["ModelService"],
    "registration": registration_pb2.DESCRIPTOR.services_by_name["RegistrationService"],
    "secrets": secrets_pb2.DESCRIPTOR.services_by_name["SecretService"],
    "workers": workers_pb2.DESCRIPTOR.services_by_name["WorkerService"],
}
METHODS = [(name, method) for name, service in SERVICES.items() for method in service.methods]
# Repeated here on purpose: a changed permission in a .proto must not go unnoticed.
VIEWER_MAY = {
    "GetCurrentUser", "GetSite", "ListSites", "GetCamera", "ListCameras", "ListWorkers", "ListCameraObservations",
    "ListModels", "GetModel", "ListTrials", "GetTrial", "ListServing",
    "UpdateCurrentUser", "ChangePassword", "ListOwnSessions", "EndOwnSession", "LogoutEverywhere",
    "CreateKey", "ListKeys", "RevokeKey", "RotateKey",
    "GetFactor", "BeginFactor", "ConfirmFactor", "DisableFactor", "RenewRecoveryCodes",
}  # fmt: skip
PUBLIC = {
    "Login", "FinishLogin", "RefreshToken", "Logout", "ExchangeKey", "GetLoginMethods", "StartOidcLogin",
    "FinishOidcLogin", "Register",
}  # fmt: skip
OUTSIDE = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


async def _code(control: Control, service: str, method, token: str | None) -> tuple[grpc.StatusCode, str]:
    """Call a method with an empty request."""
    request = message_factory.GetMessageClass(method.input_type)()
    answer = message_factory.GetMessageClass(method.output_type)
    path = f"/{method.containing_service.full_name}/{method.name}"
    streams = method.client_streaming
    make = control.channels[service].stream_stream if streams else control.channels[service].unary_unary
    call = make(path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def requests():
        yield request

    try:
        if streams:
            async for _ in call(requests(), metadata=metadata, timeout=20):
                pass
        else:
            await call(request, metadata=metadata, timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


async def test_who_gets_in_is_what_the_proto_says(control: Control) -> None:
    tokens = {
        "nobody": None,
        "viewer": control.token(*VIEWER_PERMISSIONS, subject="viewer"),
        "admin": control.token(*PEOPLE, subject="admin"),
        "worker": control.token("worker:connect", subject="w"),
    }
    for service, method in METHODS:
        policy = method_policy(f"/{method.containing_service.full_name}/{method.name}")
        assert bool(policy.permission) != policy.public, f"{method.full_name} says neither or both"
        assert policy.public == (method.name in PUBLIC)
        for role, token in tokens.items():
            code, details = await _code(control, service, method, token)
            gets_in = not (code in OUTSIDE and _is_gatekeeper(details))
            expected = policy.public or _may(role, method.name)
            assert gets_in == expected, f"{role} calling {method.full_name}: {code} {details}"
            if not expected:
                wanted = grpc.StatusCode.UNAUTHENTICATED if role == "nobody" else grpc.StatusCode.PERMISSION_DENIED
                assert code is wanted, f"{role} calling {method.full_name}: {code} {details}"


VIEWER_PERMISSIONS = BUILT_IN["viewer"].permissions


def _may(role: str, method: str) -> bool:
    if role == "admin":
        return method != "Connect"
    if role == "worker":
        return method == "Connect"
    return role == "viewer" and method in VIEWER_MAY


def _is_gatekeeper(details: str) -> bool:
    """Whether the call was stopped at the door; a method behind it may answer UNAUTHENTICATED too, as Login does."""
    return "no access token" in details or "may not call" in details


@pytest.mark.parametrize(
    "spoil",
    [lambda token: token[:-6] + "AAAAAA", lambda token: "x" + token, lambda _: "not.a.token", lambda _: "e30.e30."],
    ids=["signature", "header", "words", "unsigned"],
)
async def test_a_token_that_was_tampered_with_is_refused(control: Control, spoil) -> None:
    token = spoil(control.token(*PEOPLE))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.holder(token).cameras.ListSites(cameras_pb2.ListSitesRequest())
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_token_that_has_expired_is_refused(control: Control) -> None:
    token = control.signer.sign("s", "s", roles=(), permissions=PEOPLE, lifetime_s=-60)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await control.holder(token).cameras.ListSites(cameras_pb2.ListSitesRequest())
    assert caught.value.details() == "the access token has expired"


async def test_health_and_reflection_are_open_to_everybody(control: Control) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    for name, service in SERVICES.items():
        channel = control.channels[name]
        request = health_pb2.HealthCheckRequest(service=service.full_name)
        health = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
        assert health.status in {health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING}

        async def ask():
            yield reflection_pb2.ServerReflectionRequest(list_services="")

        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        async for answer in stub.ServerReflectionInfo(ask(), timeout=10):
            listed = {item.name for item in answer.list_services_response.service}
            beside = {each.full_name for other, each in SERVICES.items() if control.channels[other] is channel}
            assert {*beside, *OPEN_SERVICES} == listed
