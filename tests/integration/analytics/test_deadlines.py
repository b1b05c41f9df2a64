"""How long the gateway waits for a service behind gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest
from prometheus_client import REGISTRY

from countline.v1 import models_pb2, models_pb2_grpc
from countline_analytics.api.gateway import CallContext, RemoteUpstream
from countline_analytics.api.services import Method, http_methods
from countline_analytics.api.time_limits import TimeLimit, time_limit
from countline_common.errors import DeadlineExceededError, UnavailableError
from countline_common.grpc.outgoing.service_calls import open_guarded_channel
from countline_common.resilience.dependency import Dependency
from countline_common.resilience.policy import ServiceCallLimits
from countline_common.resilience.vitality import forget_problem

PATH = "/api/v1/ai-models/net"
REFUSED = ("countline_remote_calls_total", {"dependency": "models", "outcome": "refused_open"})


def within(seconds: float) -> CallContext:
    return CallContext("", "request-1", TimeLimit(seconds, 0))


class SlowModels(models_pb2_grpc.ModelServiceServicer):
    """Answers when the test releases it."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()

    async def GetModel(self, request, context):  # noqa: N802  (gRPC's name)
        await self.may_answer.wait()
        return models_pb2.GetModelResponse()

    async def PromoteModel(self, request, context):  # noqa: N802  (gRPC's name)
        await self.may_answer.wait()
        return models_pb2.PromoteModelResponse()


@pytest.fixture
async def slow() -> AsyncIterator[tuple[SlowModels, grpc.aio.Channel]]:
    server, models = grpc.aio.server(), SlowModels()
    models_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield models, channel
    await server.stop(None)


def method(name: str) -> Method:
    (found,) = (each for each in http_methods() if each.path == f"/countline.v1.ModelService/{name}")
    return found


async def test_each_call_gets_the_time_of_its_route(slow: tuple[SlowModels, grpc.aio.Channel]) -> None:
    models, channel = slow
    upstream = RemoteUpstream(channel, "models")
    request = models_pb2.PromoteModelRequest(name="net", version=2)
    change = asyncio.create_task(upstream.call(method("PromoteModel"), request, within(30.0)))
    with pytest.raises(DeadlineExceededError):
        await upstream.call(method("GetModel"), models_pb2.GetModelRequest(name="net"), within(0.2))
    models.may_answer.set()
    assert await change == models_pb2.PromoteModelResponse()


async def test_a_service_that_hangs_opens_the_breaker_though_the_request_ends_with_the_call() -> None:
    """The gateway bounds the request too. It ended first and cancelled the call, which counted as nothing."""
    server = grpc.aio.server()
    models_pb2_grpc.add_ModelServiceServicer_to_server(SlowModels(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    dependency = Dependency("models", ServiceCallLimits(deadline_s=0.3, failures=3))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop, None)
        stack.callback(forget_problem, "calls to models")
        channel = await stack.enter_async_context(open_guarded_channel(f"127.0.0.1:{port}", None, dependency))
        await asyncio.wait_for(channel.channel_ready(), 60)
        upstream, request = RemoteUpstream(channel, "models"), models_pb2.GetModelRequest(name="net")
        for _ in range(3):
            with pytest.raises(DeadlineExceededError):
                await upstream.call(method("GetModel"), request, within(0.3))
        with pytest.raises(UnavailableError, match="this call was not made"):
            await upstream.call(method("GetModel"), request, within(0.3))


async def test_a_read_that_an_open_breaker_refuses_is_not_tried_again() -> None:
    dependency = Dependency("models", ServiceCallLimits(failures=1))
    async with open_guarded_channel("127.0.0.1:1", None, dependency) as channel:
        upstream, request = RemoteUpstream(channel, "models"), models_pb2.GetModelRequest(name="net")
        patient = CallContext("", "request-1", TimeLimit(60.0, 3))
        with pytest.raises(UnavailableError):
            await upstream.call(method("GetModel"), request, patient)
        before = REGISTRY.get_sample_value(*REFUSED)
        with pytest.raises(UnavailableError, match="this call was not made") as caught:
            await upstream.call(method("GetModel"), request, patient)
    assert REGISTRY.get_sample_value(*REFUSED) == before + 1
    assert caught.value.retry_after_s is not None
    forget_problem("calls to models")  # of this process: no test leaves it to the next one


def test_a_change_of_a_model_may_take_longer_than_a_look_at_it() -> None:
    """After 15 s REST said that it had failed, while Triton was loading and the change went on."""
    assert time_limit(PATH, "POST").seconds > 200.0 > time_limit(PATH, "GET").seconds


@pytest.mark.parametrize("name", ["PromoteModel", "RollbackModel", "RetireModel", "DeleteModel", "TuneModel"])
def test_what_has_triton_load_a_model_counts_as_a_change(name: str) -> None:
    assert not method(name).only_reads
    assert method("GetModel").only_reads
