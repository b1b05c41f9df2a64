"""Every route of the gateway, for every built-in role, inside and outside its scope."""

import json
from collections.abc import Iterator

import pytest
from tests.fixtures.analytics.cameras import PLACES, add_place, add_places
from tests.fixtures.analytics.stack import Stack
from tests.fixtures.control.methods import is_permitted

from countline_analytics.api.services import Method, http_methods
from countline_analytics.api.transcoding import Route
from countline_common.access.scopes import EVERYTHING, Scope
from countline_control.auth.access.roles import BUILT_IN

DEMO, ONE = Scope(site_id="demo"), Scope(camera_ids=frozenset({"cam-0"}))
NAMES = ("demo", "cam-0", "cam-1", "far", "far-1")
VISIBLE = {EVERYTHING: {*NAMES}, DEMO: {"demo", "cam-0", "cam-1"}, ONE: {"demo", "cam-0"}}
"""What an answer may name."""
ASKED = (("demo", "cam-0"), ("demo", "cam-1"), ("far", "far-1"), ("ghost", "ghost"), ("", ""))


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """Permissions do not depend on the kind of database."""
    return plain_dsn


@pytest.fixture
async def places(stack: Stack) -> Stack:
    """Two sites with cameras."""
    await add_places(stack)
    return stack


def _asked(method: Method, route: Route, site_id: str, camera_id: str) -> tuple[str, dict[str, object]]:
    """Path and content of a request that names a site or a camera and nothing else that exists."""
    places = {"site_id": site_id, "camera_id": camera_id}
    path = route.template.removeprefix("/api/v1/")
    for variable, name in zip(route.variables, route.parameters, strict=True):
        path = path.replace(f"{{{variable}}}", places.get(name, "0"))
    rule = method.policy.resource
    named = {field.rpartition(".")[2] for field in (rule.site, rule.camera) if field} if rule is not None else set()
    if rule is not None and rule.filtered:
        named |= {*places} & set(method.descriptor.input_type.fields_by_name)
    content = {name: places[name] for name in named - {*route.parameters} if places[name]}
    return path, {"json": content} if route.body else {"params": content}


@pytest.mark.parametrize("role", sorted(BUILT_IN))
async def test_each_route_is_open_inside_the_scope_of_a_role_and_closed_outside(places: Stack, role: str) -> None:
    """Walks every route of the gateway. A role over everything, over a site, and over one camera of it."""
    permissions = BUILT_IN[role].permissions
    for scope in (EVERYTHING, DEMO, ONE):
        token = places.token(*permissions) if scope == EVERYTHING else places.scoped_token(scope, *permissions)
        for method, route, (site_id, camera_id) in _walk(permissions, scope):
            path, request = _asked(method, route, site_id, camera_id)
            status, body = await places.call(route.method, path, token=token, **request)
            where = f"{role} over {scope}: {route.method} {path} {request}: {status} {body}"
            assert status < 500 or status == 503, where
            expected = is_permitted(method.policy, permissions, scope, site_id, PLACES, camera_id)
            assert (status != 403) == expected or _may_refuse(method, scope, site_id, camera_id), where
            assert status >= 300 or not [name for name in {*NAMES} - VISIBLE[scope] if name in json.dumps(body)], where
            if method.descriptor.name == "DeleteCamera" and status == 200:
                await add_place(places, camera_id)


def _walk(permissions: frozenset[str], scope: Scope) -> Iterator[tuple[Method, Route, tuple[str, str]]]:
    """Which routes are asked about which site and camera: all places only where the decision depends on them."""
    for method in http_methods():
        held, rule = method.policy.permission in permissions, method.policy.resource
        if method.policy.public or (not held and scope != EVERYTHING):
            continue
        depends = rule is not None and bool(rule.site or rule.camera or rule.filtered)
        for route in method.routes:
            # A path always names something; a query and a body need not.
            asked = ASKED[:-1] if {"site_id", "camera_id"} & {*route.parameters} else ASKED
            for place in asked if held and depends and scope != EVERYTHING else ASKED[:1]:
                yield method, route, place


def _may_refuse(method: Method, scope: Scope, site_id: str, camera_id: str) -> bool:
    """Whether a method that filters is asked for what the caller does not see: it may refuse, or answer nothing."""
    rule = method.policy.resource
    return rule is not None and rule.filtered and not {site_id, camera_id} - {""} <= VISIBLE[scope]


async def test_only_public_routes_answer_callers_without_a_token(stack: Stack) -> None:
    for method in http_methods():
        for route in method.routes:
            path, request = _asked(method, route, "demo", "cam-0")
            url = f"http://{stack.addresses['gateway']}/api/v1/{path}"
            async with stack.session.request(route.method, url, **request) as response:
                body = await response.json()
            refused = "no access token was sent" in json.dumps(body)
            assert refused != method.policy.public, f"{route.method} {path}: {body}"
            assert not refused or response.status == 401
