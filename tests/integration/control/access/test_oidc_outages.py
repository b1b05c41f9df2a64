"""An identity provider that is slow, refuses, resets, or dies in the middle of an answer."""

from collections.abc import AsyncIterator

import pytest
from tests.fixtures.common.faulty_server import Fault, FaultyServer, faulty_server

from countline_common.errors import UnavailableError
from countline_common.resilience.vitality import forget_problem
from countline_control.auth.oidc.flow import StartedLogin
from countline_control.auth.oidc.provider import IdentityProvider, OidcConfig
from countline_control.settings import OidcCallLimits


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


LOGIN = StartedLogin("login", "http://127.0.0.1:8080/back", "state", "nonce", "verifier")
METADATA = {
    "response_types_supported": ["code"],
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
    "token_endpoint_auth_methods_supported": ["client_secret_basic"],
}


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    """A provider that has metadata and nothing else."""
    async with faulty_server(METADATA) as faulty:
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        faulty.answer = METADATA | {"issuer": faulty.url} | {name: f"{faulty.url}/{name}" for name in names}
        yield faulty
    forget_problem("calls to oidc")  # of this process: no test leaves it to the next one


def provider(server: FaultyServer, clock: Clock | None = None, **limits: float) -> IdentityProvider:
    chosen = OidcCallLimits(**{"first_pause_s": 0.001, "deadline_s": 30.0, **limits})
    return IdentityProvider(OidcConfig(server.url, "us", "Example Id"), chosen, monotonic=clock or Clock())


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.HALF, Fault.ERROR])
async def test_a_fault_that_passes_is_not_noticed(server: FaultyServer, fault: Fault) -> None:
    server.fault, server.faults_left = fault, 3
    assert await provider(server).login_page(LOGIN)
    assert server.requests == 4


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.HALF, Fault.ERROR])
async def test_a_fault_that_stays_is_said_after_three_retries(server: FaultyServer, fault: Fault) -> None:
    server.fault = fault
    with pytest.raises(UnavailableError, match=r"Example Id .* does not answer") as caught:
        await provider(server).login_page(LOGIN)
    # aiohttp sends a GET once more by itself after a reset.
    assert server.requests == (8 if fault is Fault.RESET else 4)
    assert "log in with a password" in caught.value.hint


async def test_an_answer_that_cannot_be_used_is_not_asked_for_again(server: FaultyServer) -> None:
    server.answer = ["no object"]
    with pytest.raises(UnavailableError, match="in a way that cannot be used"):
        await provider(server).login_page(LOGIN)
    assert server.requests == 1


async def test_a_provider_that_never_answers_costs_the_deadline_and_no_more_after_five_logins(
    server: FaultyServer,
) -> None:
    server.fault, clock = Fault.SLOW, Clock()
    slow = provider(server, clock, deadline_s=0.1)
    for _ in range(5):
        with pytest.raises(UnavailableError, match="does not answer"):
            await slow.login_page(LOGIN)
    made = server.requests
    server.fault = Fault.NONE
    with pytest.raises(UnavailableError, match="several times in a row") as caught:
        await slow.login_page(LOGIN)
    assert server.requests == made
    assert caught.value.retry_after_s == 60.0


async def test_after_a_minute_the_next_login_asks_the_provider_again(server: FaultyServer) -> None:
    server.fault, clock = Fault.HALF, Clock()
    away = provider(server, clock, retries=0)
    for _ in range(5):
        with pytest.raises(UnavailableError, match="does not answer"):
            await away.login_page(LOGIN)
    server.fault = Fault.NONE
    clock.now_s += 59
    with pytest.raises(UnavailableError, match="several times in a row"):
        await away.login_page(LOGIN)
    clock.now_s += 1
    assert await away.login_page(LOGIN)
    assert server.requests == 6


async def test_a_provider_that_refuses_connections_is_said_to_be_away(server: FaultyServer) -> None:
    away = provider(server, retries=1)
    server.close()
    with pytest.raises(UnavailableError, match="does not answer"):
        await away.login_page(LOGIN)
