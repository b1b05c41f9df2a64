"""Every route and every RPC gets hostile values in every field. `make fuzz` runs this with its full budget."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.fixtures.analytics.cameras import add_camera
from tests.fixtures.analytics.factory import NOON, crossing, record
from tests.fixtures.analytics.hostile_messages import messages
from tests.fixtures.analytics.hostile_routes import RestRequest, rest_requests
from tests.fixtures.analytics.hostile_texts import PASSWORD
from tests.fixtures.analytics.stack import Stack, until
from tests.fixtures.control.methods import GRPC_METHODS, ServedMethod, method
from tests.fixtures.examples import examples, rounds
from tests.fixtures.nats import NatsServer
from yarl import URL

from countline.v1.auth_pb2 import LoginRequest
from countline_common.access.oidc_redirects import GATEWAY_CALLBACK
from countline_common.times import rfc3339

LONGEST_S = float(rounds(15, 5))
"""Longest answer. `make test` shares its cores with other tests, `make fuzz` does not."""
REFUSED_LOGINS = {(303, f"/?login_error={code}") for code in ("failed_precondition", "invalid_argument")}
"""Answers to any end of a login through a provider: none is configured, and some texts are refused before."""
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}
GUESSED = {"password", "current_password", "code", "challenge", "invite_token", "refresh_token", "key"}
LIMITED = {each.name for each in GRPC_METHODS if GUESSED & {*each.descriptor.input_type.fields_by_name}} | {
    "DeployModel"
}
"""Methods with limits of their own: of failed attempts, and of the size of a model."""


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


@pytest.fixture
def control_settings(nats_server: NatsServer) -> dict[str, object]:
    """NATS for the control-plane: without it, the routes of logs and parts answer 503 to each request."""
    return {"nats_url": nats_server.url_of("control")}


async def explore(
    usual: int, strategy: st.SearchStrategy[Any], check: Callable[[Any], Coroutine[Any, Any, None]]
) -> None:
    """Let hypothesis look for an example that fails; it runs in a thread, and the checks in this loop."""
    loop = asyncio.get_running_loop()

    @settings(
        examples(usual),
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def search(example: Any) -> None:
        asyncio.run_coroutine_threadsafe(check(example), loop).result()

    await asyncio.to_thread(search)


async def still_counts(stack: Stack) -> None:
    """Every service answers, and a crossing of a new camera is counted: a hostile request may delete older ones."""
    for path in ("sites", "cameras", "users", "workers", "ai-models"):
        await stack.get(path)
    await add_camera(stack, "afterwards", "afterwards")
    after = record(crossing(1, NOON), camera="afterwards")
    after.site_id = "afterwards"
    await stack.publish(after)

    async def counted() -> bool:
        found = await stack.get("analytics/counts", start=rfc3339(NOON - 60), end=rfc3339(NOON + 60))
        return sum(bucket["in"] for bucket in found["buckets"]) == 1

    await until(counted)


@pytest.mark.hypothesis
async def test_no_route_fails_whatever_is_sent(stack: Stack) -> None:
    await add_camera(stack)
    base = f"http://{stack.addresses['gateway']}"
    async with stack.session.get(f"{base}/api/v1/openapi.json") as response:
        document = await response.json()

    async def check(request: RestRequest) -> None:
        if "/admin/maintenance" in request.path and b'"on": true' in (request.body or b""):
            return  # maintenance refuses all changes, and with them what is looked for
        began = time.monotonic()
        url, headers = URL(base + request.path, encoded=True), {"Authorization": f"Bearer {stack.token()}"}
        sent: dict[str, Any] = {"data": request.body, "headers": headers, "allow_redirects": False}
        async with stack.session.request(request.method, url, **sent) as response:
            text = await response.text()
        if request.path.startswith(GATEWAY_CALLBACK):  # for a person, not for a program
            assert (response.status, response.headers["Location"]) in REFUSED_LOGINS, text
            return
        answer = json.loads(text)
        assert response.status < 500 or (response.status == 503 and "/ai-models" in request.path), text
        assert response.status != 429 or "/auth/" in request.path, text
        assert answer["success"] is (response.status < 300)
        assert time.monotonic() - began < LONGEST_S

    await explore(150, rest_requests(document), check)
    await still_counts(stack)


@st.composite
def calls(draw: st.DrawFn) -> tuple[ServedMethod, Message]:
    """A method and its request. A stream gets one: gRPC's client fails itself if it writes after a refusal."""
    called = draw(st.sampled_from(GRPC_METHODS))
    return called, draw(messages(called.descriptor.input_type))


class Person:
    """A super-admin who logs in. Hostile calls may end what the person has: then another one takes over."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._number = 0
        self.token = ""

    @property
    def address(self) -> tuple[str, str]:
        """The header of the person's address: limits of guesses count by address too."""
        return ("x-forwarded-for", f"10.0.{self._number // 250}.{self._number % 250 + 1}")

    async def begin(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        """Create the next person, and log in."""
        self._number += 1
        name, login = f"person-{self._number}", method("Login")
        await self._stack.post("users", {"username": name, "password": PASSWORD, "roles": ["super-admin"]})
        request = LoginRequest(username=name, password=PASSWORD)
        answer = await login.call(channels, request, None, self.address)
        assert answer.code is grpc.StatusCode.OK, answer
        self.token = login.answer(answer.message).tokens.access_token


@pytest.mark.hypothesis
async def test_no_rpc_fails_whatever_is_sent(stack: Stack) -> None:
    """Of any gRPC server, by a person and by a token without one."""
    await add_camera(stack)
    person = Person(stack)

    async def check(example: tuple[ServedMethod, Message]) -> None:
        called, request = example
        if called.name == "SetMaintenance":
            request.on = False  # type: ignore[attr-defined]  # maintenance refuses all changes that are looked for
        for token in (person.token, stack.token()):
            began = time.monotonic()
            answer = await called.call(channels, request, token, person.address, timeout_s=LONGEST_S)
            assert answer.code not in FAULTS, f"{called.path}: {answer}"
            assert answer.code is not grpc.StatusCode.RESOURCE_EXHAUSTED or called.name in LIMITED, answer
            assert called.streams or time.monotonic() - began < LONGEST_S
            if answer.code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}:
                await person.begin(channels)

    async with AsyncExitStack() as cleanup:
        channels = {
            name: await cleanup.enter_async_context(grpc.aio.insecure_channel(address))
            for name, address in stack.addresses.items()
        }
        await person.begin(channels)
        await explore(150, calls(), check)
    await still_counts(stack)
