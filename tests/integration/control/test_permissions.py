"""Every method of every gRPC server, for every built-in role, inside and outside its scope; and broken tokens."""

from collections.abc import Iterator

import grpc
import pytest
from tests.fixtures.control.methods import GRPC_METHODS, SERVICES, ServedMethod, address_of, is_permitted

from countline.v1 import cameras_pb2
from countline_common.access.scopes import EVERYTHING, Scope
from countline_common.access.vocabulary import PEOPLE
from countline_common.grpc.permissions import OPEN_SERVICES
from countline_control.auth.access.roles import BUILT_IN, MACHINE_ROLES

from .conftest import CAMERAS, Control

SITE, CAMERA = Scope(site_id="lab"), Scope(camera_ids=frozenset({"lab-1"}))
NAMES = ("lab", "lab-1", "lab-2", "yard", "yard-1")
VISIBLE = {EVERYTHING: {*NAMES}, SITE: {"lab", "lab-1", "lab-2"}, CAMERA: {"lab", "lab-1"}}
"""What an answer may name."""
ASKED = (("lab", "lab-1"), ("lab", "lab-2"), ("yard", "yard-1"), ("none", "none"))
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED}


@pytest.mark.parametrize("role", sorted(BUILT_IN | MACHINE_ROLES))
async def test_each_method_is_open_inside_the_scope_of_a_role_and_closed_outside(places: Control, role: str) -> None:
    """A role over everything, over a site, and over one camera of it. No answer names what lies outside."""
    permissions = (BUILT_IN | MACHINE_ROLES)[role].permissions
    for scope in (EVERYTHING, SITE, CAMERA):
        token = places.scoped_token(role, scope)
        for method, (site_id, camera_id) in _asked(permissions, scope):
            answer = await method.call(places.channels, method.request_about(site_id, camera_id), token)
            where = f"{role} over {scope} calls {method.name} on {site_id}/{camera_id}: {answer}"
            assert answer.code not in FAULTS, where
            refused = answer.code is grpc.StatusCode.PERMISSION_DENIED and "may not call" in answer.details
            expected = is_permitted(method.policy, permissions, scope, site_id, CAMERAS, camera_id)
            assert refused != expected or _may_refuse(method, scope, site_id, camera_id), where
            hidden = {*NAMES} - VISIBLE[scope]
            assert not [name for name in hidden if name.encode() in answer.message], where
            if method.name == "DeleteCamera" and answer.code is grpc.StatusCode.OK:
                await places.add_camera(camera_id)


def _asked(permissions: frozenset[str], scope: Scope) -> Iterator[tuple[ServedMethod, tuple[str, str]]]:
    """Which methods are called about which site and camera: all places only where the decision depends on them."""
    for method in GRPC_METHODS:
        held = method.policy.permission in permissions
        if method.policy.public or (not held and scope != EVERYTHING):
            continue
        for place in ASKED if held and method.names_places and scope != EVERYTHING else ASKED[:1]:
            yield method, place


def _may_refuse(method: ServedMethod, scope: Scope, site_id: str, camera_id: str) -> bool:
    """Whether a method that filters is asked for what the caller does not see: it may refuse, or answer nothing."""
    rule = method.policy.resource
    return bool(rule and rule.filtered) and not {site_id, camera_id} <= VISIBLE[scope]


async def test_only_public_methods_answer_callers_without_a_token(control: Control) -> None:
    for method in GRPC_METHODS:
        answer = await method.call(control.channels, method.request(), None)
        refused = "no access token was sent" in answer.details
        assert refused != method.policy.public, f"{method.path}: {answer}"
        assert not refused or answer.code is grpc.StatusCode.UNAUTHENTICATED
        assert answer.code not in FAULTS, f"{method.path}: {answer}"


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

    for address, channel in control.channels.items():
        served = {each.full_name for each in SERVICES if address_of(each.name) == address}
        for name in served:
            request = health_pb2.HealthCheckRequest(service=name)
            health = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
            assert health.status in {health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING}

        async def ask():
            yield reflection_pb2.ServerReflectionRequest(list_services="")

        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        async for answer in stub.ServerReflectionInfo(ask(), timeout=10):
            listed = {item.name for item in answer.list_services_response.service}
            assert {*served, *OPEN_SERVICES} == listed
