"""The authorization code flow with PKCE (RFC 6749, RFC 7636, OpenID Connect Core 1.0), without the network. Pure.

Nothing is stored when a login begins, so a flood of begun logins costs no database. All that belongs to a login is
derived from a text that the browser keeps in a cookie: state, nonce and code verifier are HMACs of it. Only this
service can compute the state of a text, so a matching state proves that the text is ours and belongs to this browser.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from countline_common.access.oidc_redirects import GATEWAY_CALLBACK, LOOPBACK_CALLBACK, LOOPBACK_HOST
from countline_common.errors import InvalidInputError, UnauthenticatedError

LOGIN_S: Final = 600.0
"""Time that a person has to log in at the provider."""
LONGEST_REDIRECT: Final = 500
LONGEST_LOGIN: Final = 1000
"""Characters of a redirect URI, and of the text in the cookie."""
_ERROR: Final = re.compile(r"[a-z_]{1,50}")
"""Codes of errors; other texts come from an attacker."""


@dataclass(frozen=True, slots=True)
class StartedLogin:
    """A login that a browser has begun."""

    login: str
    """What the browser keeps."""
    redirect_uri: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """What the provider sent to the redirect URI."""

    state: str
    code: str = ""
    issuer: str = ""
    """`iss` of RFC 9207; empty if the provider sends none."""
    error: str = ""


class LoginFlow:
    """Begins logins and recognises them again.

    Args:
        key: 32 secret bytes, the same in all processes of auth.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def begin(self, redirect_uri: str, now: float) -> StartedLogin:
        """Begin a login.

        Args:
            redirect_uri: where the provider sends the browser afterwards.
            now: Unix seconds.

        Raises:
            InvalidInputError: the redirect URI is not one of ours.
        """
        check_redirect(redirect_uri)
        login = f"{int(now)}.{secrets.token_urlsafe(24)}.{urlsafe_b64encode(redirect_uri.encode()).decode()}"
        return self._started(login, redirect_uri)

    def resume(self, login: str, state: str, now: float) -> StartedLogin:
        """Return the login to which an answer belongs.

        Args:
            login: what the browser kept.
            state: from the answer of the provider.
            now: Unix seconds.

        Raises:
            UnauthenticatedError: the answer belongs to another login, or comes too late.
        """
        if len(login) > LONGEST_LOGIN or not login:
            raise incomplete("this browser has not begun it, or does not accept cookies")
        # The comparison comes first: only then is the text known to be ours.
        if not hmac.compare_digest(self._derived("state", login).encode(), state.encode()):
            raise incomplete("the answer belongs to another login")
        begun, _, redirect = login.split(".")
        if now - int(begun) > LOGIN_S:
            raise incomplete(f"it took longer than {LOGIN_S / 60:g} minutes")
        return self._started(login, urlsafe_b64decode(redirect).decode())

    def _started(self, login: str, redirect_uri: str) -> StartedLogin:
        derived = (self._derived(purpose, login) for purpose in ("state", "nonce", "verifier"))
        return StartedLogin(login, redirect_uri, *derived)

    def _derived(self, purpose: str, login: str) -> str:
        digest = hmac.digest(self._key, f"{purpose} {login}".encode(errors="surrogatepass"), hashlib.sha256)
        return urlsafe_b64encode(digest).decode().rstrip("=")


def check_redirect(redirect_uri: str) -> None:
    """Check a redirect URI: the gateway's callback at any host, or that of `countline login --oidc` on any port.

    Whether a host is permitted is the provider's decision, which has a list.

    Raises:
        InvalidInputError: it is another address.
    """
    if len(redirect_uri) > LONGEST_REDIRECT or not redirect_uri.isascii() or not redirect_uri.isprintable():
        raise _no_redirect(redirect_uri)
    try:
        parts = urlsplit(redirect_uri)
        port = parts.port
    except ValueError as error:
        raise _no_redirect(redirect_uri) from error
    at_gateway = parts.scheme in {"http", "https"} and parts.hostname and parts.path == GATEWAY_CALLBACK
    at_command = redirect_uri == f"http://{LOOPBACK_HOST}:{port}{LOOPBACK_CALLBACK}"
    has_more = "@" in parts.netloc or "?" in redirect_uri or "#" in redirect_uri
    if not (at_gateway or at_command) or has_more:
        raise _no_redirect(redirect_uri)


def _no_redirect(redirect_uri: str) -> InvalidInputError:
    return InvalidInputError(
        f"{redirect_uri[:80]!r} is no redirect URI of Countline",
        hint=f"give the callback of the gateway, such as https://counts.example.org{GATEWAY_CALLBACK}, "
        f"or that of a command, http://{LOOPBACK_HOST}:PORT{LOOPBACK_CALLBACK}",
    )


def authorization_url(endpoint: str, client_id: str, scopes: Sequence[str], started: StartedLogin) -> str:
    """Return the address of the provider's login page.

    Args:
        endpoint: the provider's `authorization_endpoint`; it may have a query.
        client_id: ours at the provider.
        scopes: what to ask for.
        started: the login.
    """
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": started.redirect_uri,
        "scope": " ".join(scopes),
        "state": started.state,
        "nonce": started.nonce,
        "code_challenge": create_s256_code_challenge(started.verifier),
        "code_challenge_method": "S256",
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"


def check_answer(answer: ProviderAnswer, issuer: str, *, names_issuer: bool) -> None:
    """Check an answer whose state is right.

    Args:
        answer: of the provider.
        issuer: the configured provider.
        names_issuer: whether the provider promises `iss` in its answers. It keeps an answer of one provider from
            being used for another (RFC 9207).

    Raises:
        UnauthenticatedError: it comes from another provider, holds no code, or refuses the login.
    """
    if answer.issuer != issuer and (answer.issuer or names_issuer):
        raise incomplete("the answer comes from another identity provider")
    if answer.error:
        code = answer.error if _ERROR.fullmatch(answer.error) else "unknown error"
        raise incomplete(f"the identity provider refused it ({code})")
    if not answer.code:
        raise incomplete("the answer of the identity provider holds no code")


def incomplete(why: str) -> UnauthenticatedError:
    """Return the error for a login that was not completed."""
    return UnauthenticatedError(f"the login was not completed: {why}", hint="sign in again from the login page")
