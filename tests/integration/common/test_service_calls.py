"""Calls to a gRPC service that is slow, refuses, resets or dies half-way: deadline, breaker, bulkhead."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from prometheus_client import REGISTRY
from tests.fixtures.common.faulty_server import Fault, faulty_server, relay
from tests.fixtures.local.ports import free_port
from tests.fixtures.local.processes import until

from countline.v1 import models_pb2, models_pb2_grpc
from countline_common.errors import (
    CountlineError,
    DeadlineExceededError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from countline_common.grpc.errors import to_status, translated
from countline_common.grpc.outgoing.service_calls import open_guarded_channel
from countline_common.http.health import HealthServer
from countline_common.resilience.breaker import BreakerState
from countline_common.resilience.dependency import Dependency
from countline_common.resilience.policy import ServiceCallLimits
from countline_common.resilience.vitality import forget_problem

LONG_S = 60.0


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Models(models_pb2_grpc.ModelServiceServicer):
    """Answers when the test lets it; `error` is its answer if set."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.error: CountlineError | None = None
        self.calls = 0

    async def GetModel(self, request, context):  # noqa: N802  (gRPC's name)
        self.calls += 1
        await self.may_answer.wait()
        if self.error is not None:
            status = rpc_status.to_status(to_status(self.error))
            await context.abort(status.code, status.details, status.trailing_metadata)
        return models_pb2.GetModelResponse()


@asynccontextmanager
async def served(models: Models, port: int = 0) -> AsyncIterator[int]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    models_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def calling(port: int, clock: Clock, **limits: float) -> AsyncIterator[tuple[Dependency, Callable]]:
    """The dependency at a port, and a function that calls it."""
    dependency = Dependency("models", ServiceCallLimits(**{"deadline_s": LONG_S, **limits}), clock=clock)
    async with open_guarded_channel(f"127.0.0.1:{port}", None, dependency) as channel:
        stub = models_pb2_grpc.ModelServiceStub(channel)

        async def call(timeout_s: float | None = None) -> None:
            with translated():
                await stub.GetModel(models_pb2.GetModelRequest(name="net"), timeout=timeout_s)

        yield dependency, call
    forget_problem("calls to models")  # of this process: no test leaves it to the next one


async def answers_again(dependency: Dependency, call: Callable) -> None:
    """Call until the breaker is closed; the clock of the test stands still. The time limit of the test bounds this."""
    while dependency.breaker.state is not BreakerState.CLOSED:
        with contextlib.suppress(UnavailableError):
            await call()
        await asyncio.sleep(0.02)


def counted(outcome: str) -> float:
    labels = {"dependency": "models", "outcome": outcome}
    return REGISTRY.get_sample_value("countline_remote_calls_total", labels) or 0.0


async def test_a_service_that_refuses_opens_the_breaker_and_its_new_connection_closes_it() -> None:
    models = Models()
    async with served(models) as port:
        pass  # the port is closed again
    async with calling(port, Clock()) as (dependency, call):
        for _ in range(5):
            with pytest.raises(UnavailableError, match="does not answer"):
                await call()
        before = counted("refused_open")
        with pytest.raises(UnavailableError, match="5 times in a row, so this call was not made") as caught:
            await call()
        assert caught.value.retry_after_s == 60.0
        assert counted("refused_open") == before + 1
        async with served(models, port):
            await answers_again(dependency, call)
            assert models.calls == 1


async def test_a_service_that_hangs_is_left_alone_for_a_minute_and_then_tried_once() -> None:
    models, clock = Models(), Clock()
    async with served(models) as port, calling(port, clock, deadline_s=0.2) as (_, call):
        models.may_answer.clear()
        for _ in range(5):
            with pytest.raises(DeadlineExceededError):
                await call()
        made = models.calls
        with pytest.raises(UnavailableError, match="was not made"):
            await call()
        models.may_answer.set()
        with pytest.raises(UnavailableError, match="was not made"):
            await call()  # the connection was never lost, so it says nothing
        assert models.calls == made
        clock.now_s += 60
        await call(LONG_S)
        await call(LONG_S)
        assert models.calls == made + 2


async def test_a_service_that_hung_and_was_started_anew_is_used_at_once() -> None:
    """It hangs, so the breaker opens over a live connection; then somebody ends it and starts it again."""
    models = Models()
    models.may_answer.clear()
    async with calling(port := free_port(), Clock(), deadline_s=0.2) as (dependency, call):
        async with served(models, port):
            while dependency.breaker.state is not BreakerState.OPEN:
                with pytest.raises((DeadlineExceededError, UnavailableError)):
                    await call()
        models.may_answer.set()
        with pytest.raises(UnavailableError, match="was not made"):
            await call()
        async with served(models, port):
            dependency.limits = ServiceCallLimits(deadline_s=LONG_S)
            await answers_again(dependency, call)


async def test_a_connection_that_is_reset_is_a_failure() -> None:
    async with faulty_server({}) as server, calling(server.port, Clock()) as (dependency, call):
        server.fault = Fault.RESET
        for _ in range(5):
            with pytest.raises(UnavailableError):
                await call()
        assert dependency.breaker.state is BreakerState.OPEN


async def test_a_service_that_dies_in_the_middle_of_a_call_is_a_failure() -> None:
    models = Models()
    models.may_answer.clear()
    async with (
        served(models) as port,
        relay(port) as dying,
        calling(dying.port, Clock(), failures=1) as (dependency, call),
    ):
        pending = asyncio.create_task(call())
        await until(lambda: models.calls > 0)
        dying.cut()
        with pytest.raises(UnavailableError):
            await pending
        assert dependency.breaker.state is BreakerState.OPEN
        models.may_answer.set()
        await answers_again(dependency, call)


@pytest.mark.parametrize("error", [NotFoundError("none"), UnavailableError("the database does not answer")])
async def test_an_answer_of_the_service_is_no_failure_whatever_it_says(error: CountlineError) -> None:
    models = Models()
    models.error = error
    async with served(models) as port, calling(port, Clock()) as (dependency, call):
        for _ in range(10):
            with pytest.raises(type(error), match=error.message):
                await call()
        assert dependency.breaker.state is BreakerState.CLOSED


async def test_a_call_with_little_time_says_nothing_of_the_service() -> None:
    models = Models()
    models.may_answer.clear()
    async with served(models) as port, calling(port, Clock(), failures=1) as (dependency, call):
        with pytest.raises(DeadlineExceededError):
            await call(0.05)
        assert dependency.breaker.state is BreakerState.CLOSED


async def test_a_cancelled_call_gives_its_place_back_and_counts_as_nothing() -> None:
    models = Models()
    models.may_answer.clear()
    async with served(models) as port, calling(port, Clock(), failures=1, calls=1, waiting=0) as (dependency, call):
        pending = asyncio.create_task(call())
        await until(lambda: models.calls > 0)
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        await until(lambda: not dependency.bulkhead.running)
        models.may_answer.set()
        await call()
        assert dependency.breaker.state is BreakerState.CLOSED


async def test_more_calls_than_places_wait_and_one_more_is_refused() -> None:
    models = Models()
    models.may_answer.clear()
    async with served(models) as port, calling(port, Clock(), calls=2, waiting=1) as (dependency, call):
        pending = [asyncio.create_task(call()) for _ in range(3)]
        await until(lambda: dependency.bulkhead.waiting > 0)
        with pytest.raises(ResourceExhaustedError, match="too many calls to models at once: 2 calls run and 1 wait"):
            await call()
        models.may_answer.set()
        await asyncio.gather(*pending)
        assert (models.calls, dependency.breaker.state) == (3, BreakerState.CLOSED)


async def test_an_open_breaker_is_seen_in_health_and_metrics_and_makes_no_probe_lie() -> None:
    models = Models()
    async with served(models) as port:
        pass
    async with calling(port, Clock(), failures=1) as (dependency, call):
        with pytest.raises(UnavailableError):
            await call()
        async with HealthServer("127.0.0.1:0", {}) as health, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{health.port}"
            for path in ("/healthz", "/readyz"):
                async with session.get(url + path) as answer:
                    assert answer.status == 200
                    assert "models does not answer" in (await answer.json())["degraded"]["calls to models"]
            async with session.get(f"{url}/metrics") as answer:
                assert 'countline_remote_breaker_open{dependency="models"} 1.0' in await answer.text()
        async with served(models, port), open_guarded_channel(f"127.0.0.1:{port}", None, dependency) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:  # our own server has no health service here
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED, "the probe reached the server"
