"""What is repeated, and with which pauses."""

import asyncio
import socket
from collections.abc import Callable
from types import SimpleNamespace

import aiohttp
import grpc
import pytest
from pydantic import ValidationError

from countline_common.errors import DeadlineExceededError, NotFoundError, ResourceExhaustedError, UnavailableError
from countline_common.resilience.breaker import CircuitOpenError
from countline_common.resilience.policy import CallLimits, RetriedCallLimits, ServiceCallSettings
from countline_common.resilience.retry import repeating
from countline_common.resilience.transient import is_transient

KEY = SimpleNamespace(host="id", port=443, ssl=True, is_ssl=True)


def answered(status: int) -> aiohttp.ClientResponseError:
    return aiohttp.ClientResponseError(SimpleNamespace(real_url="http://id"), (), status=status)


def rpc(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionResetError(), True),
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), True),
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientPayloadError(), True),
        (aiohttp.ClientConnectorDNSError(KEY, OSError("no such name")), True),
        (answered(500), True),
        (answered(503), True),
        (rpc(grpc.StatusCode.UNAVAILABLE), True),
        (UnavailableError("away"), True),
        (answered(404), False),
        (answered(429), False),
        (aiohttp.ClientConnectorCertificateError(KEY, ValueError("expired")), False),
        (aiohttp.ClientConnectorSSLError(KEY, OSError("no TLS")), False),
        (rpc(grpc.StatusCode.DEADLINE_EXCEEDED), False),
        (rpc(grpc.StatusCode.INTERNAL), False),
        (rpc(grpc.StatusCode.RESOURCE_EXHAUSTED), False),
        (UnavailableError("later", retry_after_s=5), False),
        (CircuitOpenError("open", retry_after_s=5), False),
        (DeadlineExceededError("late"), False),
        (ResourceExhaustedError("full"), False),
        (NotFoundError("none"), False),
        (PermissionError(), False),
        (FileNotFoundError(), False),
        (ValueError(), False),
    ],
)
def test_only_failures_that_may_pass_are_transient(error: Exception, passes: bool) -> None:
    assert is_transient(error) is passes


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were begun; none takes time."""
    begun: list[float] = []

    async def note(seconds: float) -> None:
        begun.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    return begun


async def attempts_until(error: Exception, on: Callable[[Exception], bool] = is_transient, **limits: float) -> int:
    made = 0
    usual = RetriedCallLimits()
    rules = {"retries": usual.retries, "first_pause_s": usual.first_pause_s, "within_s": 60.0, **limits}
    try:
        async for attempt in repeating(on, **rules):
            with attempt:
                made += 1
                raise error
    except type(error):
        return made
    raise AssertionError("the last error is raised")


async def test_a_call_is_repeated_three_times_after_1_2_and_4_seconds_with_jitter(pauses: list[float]) -> None:
    assert await attempts_until(ConnectionResetError()) == 4
    assert [least <= pause <= least + 0.5 for least, pause in zip((1, 2, 4), pauses, strict=True)] == [True] * 3
    first = tuple(pauses)
    pauses.clear()
    await attempts_until(ConnectionResetError())
    assert tuple(pauses) != first


async def test_nothing_else_is_repeated(pauses: list[float]) -> None:
    assert await attempts_until(NotFoundError("none")) == 1
    assert pauses == []


async def test_a_pause_that_would_outlast_the_deadline_is_not_begun(pauses: list[float]) -> None:
    assert await attempts_until(ConnectionResetError(), within_s=4.0) == 3
    assert await attempts_until(ConnectionResetError(), within_s=1.0) == 1


def test_limits_are_settings_and_name_only_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTLINE_CALLS_AUTH", '{"open_s": 30, "failures": 0}')
    settings = ServiceCallSettings()
    assert (settings.calls_auth.open_s, settings.calls_auth.failures, settings.calls_auth.deadline_s) == (30, 0, 3)
    assert settings.calls_models.open_s == 60
    assert (CallLimits().failures, CallLimits().open_s) == (5, 60)
    monkeypatch.setenv("COUNTLINE_CALLS_AUTH", '{"open": 30}')
    with pytest.raises(ValidationError, match=r"calls_auth\.open"):
        ServiceCallSettings()
