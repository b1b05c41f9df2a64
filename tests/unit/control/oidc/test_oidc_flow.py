"""Logins through an identity provider: what a browser begins, only this browser completes, in time."""

import hashlib
from base64 import urlsafe_b64encode
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import KeySet, OKPKey

from countline_common.errors import InvalidInputError, UnauthenticatedError, UnavailableError
from countline_control.auth.oidc.flow import (
    LOGIN_S,
    LoginFlow,
    ProviderAnswer,
    authorization_url,
    check_answer,
    check_redirect,
)
from countline_control.auth.oidc.keys import KEPT_S, RELOAD_S, KeyCache
from countline_control.auth.oidc.metadata import read_metadata

NOW = 1_800_000_000.0
ISSUER = "https://id.example.org"
REDIRECT = "https://counts.example.org/api/v1/auth/oidc/callback"
FLOW = LoginFlow(b"k" * 32)
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
}


def test_a_login_asks_for_a_code_with_pkce_state_and_nonce() -> None:
    started = FLOW.begin(REDIRECT, NOW)
    url = urlsplit(authorization_url(f"{ISSUER}/authorize?tenant=a", "us", ("openid", "email"), started))
    asked = {name: value for name, (value,) in parse_qs(url.query).items()}
    challenge = urlsafe_b64encode(hashlib.sha256(started.verifier.encode()).digest()).decode().rstrip("=")
    assert asked == {
        "tenant": "a",
        "response_type": "code",
        "client_id": "us",
        "redirect_uri": REDIRECT,
        "scope": "openid email",
        "state": started.state,
        "nonce": started.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    assert 43 <= len(started.verifier) <= 128, "RFC 7636, section 4.1"
    assert len({started.state, started.nonce, started.verifier, started.login}) == 4


def test_a_browser_completes_its_own_login_only() -> None:
    mine, other = FLOW.begin(REDIRECT, NOW), FLOW.begin(REDIRECT, NOW)
    assert FLOW.resume(mine.login, mine.state, NOW + LOGIN_S) == mine
    for login, state in ((mine.login, other.state), ("", mine.state), (mine.login, ""), ("x" * 5000, mine.state)):
        with pytest.raises(UnauthenticatedError):
            FLOW.resume(login, state, NOW)
    with pytest.raises(UnauthenticatedError, match="another login"):
        LoginFlow(b"j" * 32).resume(mine.login, mine.state, NOW)


def test_a_login_ends_after_ten_minutes_and_its_time_cannot_be_changed() -> None:
    started = FLOW.begin(REDIRECT, NOW)
    with pytest.raises(UnauthenticatedError, match="longer than 10 minutes"):
        FLOW.resume(started.login, started.state, NOW + LOGIN_S + 1)
    later = started.login.replace(str(int(NOW)), str(int(NOW + 3600)))
    with pytest.raises(UnauthenticatedError, match="another login"):
        FLOW.resume(later, started.state, NOW + LOGIN_S + 1)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_other_text_completes_nothing(login: str, state: str) -> None:
    with pytest.raises(UnauthenticatedError):
        FLOW.resume(login, state, NOW)


PATH = "/api/v1/auth/oidc/callback"
REDIRECTS = [REDIRECT, f"http://127.0.0.1:8080{PATH}", f"http://[::1]:8080{PATH}", "http://127.0.0.1:49152/callback"]
NO_REDIRECTS = [
    "", "x", "javascript:alert(1)", f"ftp://h{PATH}", f"https://{PATH}", f"https://h{PATH}#f", f"https://h{PATH}#",
    f"https://h{PATH}?next=x", f"https://h{PATH}?", "http://[", f"https://é{PATH}", f"https://{'x' * 500}{PATH}",
    f"https://user@h{PATH}", f"https://h:99999{PATH}", f"https://h{PATH}/", f"https://h/x{PATH}", "https://h/",
    # Of a command, only the loopback interface, by its number, without TLS, and with a port.
    "http://127.0.0.1/callback", "https://127.0.0.1:1/callback", "http://localhost:1/callback", "http://h:1/callback",
    "http://127.0.0.1.h:1/callback", "http://x@127.0.0.1:1/callback", "http://127.0.0.2:1/callback",
    "http://127.0.0.1:1/callback/x", "http://127.0.0.1:1/", "http://127.0.0.1:1/callback?x", "http://127.0.0.1:/callback",
]  # fmt: skip


@pytest.mark.parametrize("text", REDIRECTS)
def test_the_gateway_and_a_command_on_this_machine_may_be_led_to(text: str) -> None:
    assert FLOW.begin(text, NOW).redirect_uri == text


@pytest.mark.parametrize("text", NO_REDIRECTS)
def test_any_other_redirect_uri_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        check_redirect(text)


@pytest.mark.parametrize(
    ("answer", "names_issuer", "problem"),
    [
        (ProviderAnswer("s", "c", ISSUER), True, ""),
        (ProviderAnswer("s", "c", ISSUER), False, ""),
        (ProviderAnswer("s", "c"), False, ""),
        (ProviderAnswer("s", "c"), True, "another identity provider"),
        (ProviderAnswer("s", "c", "https://evil.example"), False, "another identity provider"),
        (ProviderAnswer("s", "", ISSUER), True, "no code"),
        (ProviderAnswer("s", "", ISSUER, "access_denied"), True, "refused it (access_denied)"),
        (ProviderAnswer("s", "c", ISSUER, "<b>call 0900</b>"), True, "refused it (unknown error)"),
    ],
)
def test_an_answer_is_taken_from_the_configured_provider_only(
    answer: ProviderAnswer, names_issuer: bool, problem: str
) -> None:
    if not problem:
        check_answer(answer, ISSUER, names_issuer=names_issuer)
        return
    with pytest.raises(UnauthenticatedError) as caught:
        check_answer(answer, ISSUER, names_issuer=names_issuer)
    assert problem in caught.value.message


def test_a_provider_describes_itself() -> None:
    found = read_metadata({**METADATA, "more": 1}, ISSUER)
    assert (found.token_endpoint, found.userinfo_endpoint) == (f"{ISSUER}/token", "")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"issuer": "https://evil.example"}, "calls itself 'https://evil.example'"),
        ({"issuer": f"{ISSUER}/"}, "calls itself"),
        ({"token_endpoint": None}, "token_endpoint"),
        ({"token_endpoint": "http://id.example.org/token"}, "does not begin with https://"),
        ({"jwks_uri": "file:///etc/passwd"}, "does not begin with https://"),
        ({"userinfo_endpoint": "http://[/"}, "does not begin with https://"),
        ({"id_token_signing_alg_values_supported": "none"}, "id_token_signing_alg_values_supported"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(change: dict[str, object], problem: str) -> None:
    document = {name: value for name, value in {**METADATA, **change}.items() if value is not None}
    with pytest.raises(UnavailableError) as caught:
        read_metadata(document, ISSUER)
    assert problem in caught.value.message
    for other in (None, [], "x", 5):
        with pytest.raises(UnavailableError):
            read_metadata(other, ISSUER)


async def test_unknown_keys_load_the_keys_once_a_minute_at_most() -> None:
    """Anybody can make a token with an unknown key: it must not make us flood the provider."""
    now, loads = 0.0, 0

    async def load() -> KeySet:
        nonlocal loads
        loads += 1
        return KeySet([OKPKey.generate_key("Ed25519")])

    cache = KeyCache(load, lambda: now)
    first = await cache.current()
    for _ in range(100):
        assert await cache.reloaded() is first
    now = RELOAD_S
    second = await cache.reloaded()
    assert (second is not first, await cache.reloaded() is second, loads) == (True, True, 2)
    now = RELOAD_S + KEPT_S
    await cache.current()
    assert loads == 3, "keys that the provider withdrew are forgotten"
