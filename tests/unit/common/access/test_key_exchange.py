"""API keys become principals: what is kept, for how long, and what happens while auth is away."""

import asyncio

import pytest

from countline_common.access.api_keys import new_key
from countline_common.errors import UnauthenticatedError, UnavailableError
from countline_common.grpc import key_exchange
from countline_common.grpc.key_exchange import KeyExchange
from countline_common.grpc.tokens import TokenSigner, TokenVerifier, generate_key_pair

PRIVATE, PUBLIC = generate_key_pair()
KEY = new_key()


class AuthOfKeys:
    """Auth with one key, as the exchange sees it."""

    def __init__(self) -> None:
        self.now, self.asked, self.revision = 1_800_000_000.0, 0, 1
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.verifier = TokenVerifier(PUBLIC, self.clock)
        self.exchange = KeyExchange(self.answer, self.verifier, self.clock)
        self.verifier.keys = self.exchange

    def clock(self) -> float:
        return self.now

    async def answer(self, key: str) -> str:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        signer = TokenSigner(PRIVATE, self.clock)
        held = frozenset({"camera:read"})
        how = {"session_id": "k1", "key_id": "k1", "access_revision": self.revision}
        return signer.sign("u1", "ci", roles=(), permissions=held, lifetime_s=300, **how)


@pytest.fixture
async def auth() -> AuthOfKeys:
    return AuthOfKeys()


async def test_a_key_is_exchanged_once_for_many_calls(auth: AuthOfKeys) -> None:
    found = {(await auth.verifier.identify(KEY)).key_id for _ in range(100)}
    assert (found, auth.asked) == ({"k1"}, 1)


async def test_calls_at_the_same_time_share_one_question(auth: AuthOfKeys) -> None:
    auth.gate.clear()
    calls = [asyncio.create_task(auth.verifier.identify(KEY)) for _ in range(50)]
    await asyncio.sleep(0)
    calls[0].cancel()  # a caller that hangs up does not end the question of the others
    await asyncio.sleep(0)
    auth.gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert {each.key_id for each in results[1:]} == {"k1"}
    assert auth.asked == 1


async def test_a_revoked_key_is_refused_at_once_and_asked_about_rarely(auth: AuthOfKeys) -> None:
    await auth.verifier.identify(KEY)
    auth.error = UnauthenticatedError("the API key was revoked")
    auth.verifier.revocations.end("u1", 0, ["k1"])
    for _ in range(20):
        with pytest.raises(UnauthenticatedError, match="was revoked"):
            await auth.verifier.identify(KEY)
    asked = auth.asked
    auth.now += key_exchange.REFUSED_FOR_S + 1
    with pytest.raises(UnauthenticatedError):
        await auth.verifier.identify(KEY)
    assert asked <= 3 < auth.asked + 1


async def test_a_change_of_the_owner_is_seen_without_a_refusal(auth: AuthOfKeys) -> None:
    await auth.verifier.identify(KEY)
    auth.revision = 2
    auth.verifier.revocations.end("u1", 2, [])
    assert (await auth.verifier.identify(KEY)).access_revision == 2


async def test_while_auth_is_away_a_known_key_works_until_its_token_ends(auth: AuthOfKeys) -> None:
    await auth.verifier.identify(KEY)
    auth.error = UnavailableError("auth does not answer")
    auth.now += 299
    assert (await auth.verifier.identify(KEY)).key_id == "k1"
    auth.now += 2
    with pytest.raises(UnavailableError):
        await auth.verifier.identify(KEY)
    with pytest.raises(UnavailableError):
        await auth.verifier.identify(new_key())


async def test_a_key_is_revoked_even_while_auth_is_away(auth: AuthOfKeys) -> None:
    await auth.verifier.identify(KEY)
    auth.error = UnavailableError("auth does not answer")
    auth.verifier.revocations.end("u1", 0, ["k1"])
    with pytest.raises(UnavailableError):
        await auth.verifier.identify(KEY)


async def test_what_is_kept_has_a_bound(auth: AuthOfKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_exchange, "MOST_KEPT", 3)
    monkeypatch.setattr(key_exchange, "MOST_REFUSED", 3)
    for _ in range(10):
        await auth.verifier.identify(new_key())
    auth.error = UnauthenticatedError("the API key is unknown")
    for _ in range(10):
        with pytest.raises(UnauthenticatedError):
            await auth.verifier.identify(new_key())
    assert (len(auth.exchange._kept), len(auth.exchange._refused)) == (3, 3)


async def test_a_process_without_an_exchange_takes_no_keys() -> None:
    with pytest.raises(UnauthenticatedError, match="cannot be used here"):
        await TokenVerifier(PUBLIC).identify(KEY)
