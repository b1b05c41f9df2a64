"""Every route and every RPC gets hostile values in every field. `make fuzz` runs this with its full budget."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.fixtures.analytics.cameras import add_camera
from tests.fixtures.analytics.factory import NOON, crossing, record
from tests.fixtures.analytics.hostile_messages import messages
from tests.fixtures.analytics.hostile_routes import RestRequest, rest_requests
from tests.fixtures.analytics.stack import Stack, until
from tests.fixtures.examples import examples, rounds
from tests.fixtures.nats import NatsServer
from yarl import URL

from countline_analytics.api.services import contract_files
from countline_common.access.oidc_redirects import GATEWAY_CALLBACK
from countline_common.times import rfc3339

LONGEST_S = float(rounds(15, 5))
"""Longest answer. `make test` shares its cores with other tests, `make fuzz` does not."""
REFUSED_LOGINS = {(303, f"/?login_error={code}") for code in ("failed_precondition", "invalid_argument")}
"""Answers to any end of a login through a provider: none is configured, and some texts are refused before."""
QUIET_S = 1.0
"""A stream that answers nothing for so long is ended by the test."""
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}
SERVERS = {"AuthService": "auth", "CameraService": "cameras", "WorkerService": "workers", "ModelService": "models"}
LIMITED = {"Login", "DeployModel"}
"""Methods with limits of their own: of failed attempts, and of the size of a model."""
METHODS = [
    method
    for file in contract_files()
    for service in file.services_by_name.values()
    if service.name in SERVERS
    for method in service.methods
]


@pytest.fixture
def analytics_dsn(plain_dsn: str) -> str:
    """What passes through here does not depend on the kind of database."""
    return plain_dsn


@pytest.fixture
def control_settings(nats_server: NatsServer) -> dict[str, object]:
    """NATS for the control-plane: without it, the routes of logs and parts answer 503 to each request."""
    return {"nats_url": nats_server.url}


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
def calls(draw: st.DrawFn) -> tuple[MethodDescriptor, Message]:
    """A method and its request. A stream gets one: gRPC's client fails itself if it writes after a refusal."""
    method = draw(st.sampled_from(METHODS))
    return method, draw(messages(method.input_type))


async def answers(channel: grpc.aio.Channel, method: MethodDescriptor, request: Message, **how: Any) -> None:
    """Make a call, and end it when it answers nothing for a while."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    path = f"/{method.containing_service.full_name}/{method.name}"
    serialize = {"request_serializer": lambda message: message.SerializeToString(), "response_deserializer": bytes}
    call = getattr(channel, kind)(path, **serialize)

    async def stream() -> AsyncIterator[Message]:
        yield request

    answered = call(stream() if method.client_streaming else request, **how)
    if not method.server_streaming:
        await answered
        return
    try:
        async with asyncio.timeout(QUIET_S):
            async for _ in answered:
                pass
    except TimeoutError:
        answered.cancel()


@pytest.mark.hypothesis
async def test_no_rpc_fails_whatever_is_sent(stack: Stack) -> None:
    await add_camera(stack)
    metadata = [("authorization", f"Bearer {stack.token()}")]
    channels = {name: grpc.aio.insecure_channel(stack.addresses[name]) for name in SERVERS.values()}

    async def check(example: tuple[MethodDescriptor, Message]) -> None:
        method, request = example
        if method.name == "SetMaintenance":
            request.on = False  # maintenance refuses all changes, and with them what is looked for
        channel = channels[SERVERS[method.containing_service.name]]
        refused = None
        try:
            await answers(channel, method, request, metadata=metadata, timeout=LONGEST_S)
        except grpc.aio.AioRpcError as error:
            refused = error
        if refused is not None:
            assert refused.code() not in FAULTS, refused
            assert refused.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED or method.name in LIMITED, refused

    try:
        await explore(150, calls(), check)
        await still_counts(stack)
    finally:
        for channel in channels.values():
            await channel.close()
