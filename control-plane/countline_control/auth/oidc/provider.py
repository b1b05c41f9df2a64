"""The conversation with the identity provider over HTTP. Each request of ours is bounded in time and size."""

import asyncio
import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

import aiohttp

from countline_common.errors import CountlineError, UnavailableError
from countline_common.logs import get_logger
from countline_common.resilience.breaker import CircuitOpenError
from countline_common.resilience.dependency import Dependency
from countline_common.resilience.policy import RetriedCallLimits
from countline_common.untrusted_json import parse_json
from countline_control.auth.oidc.flow import ProviderAnswer, StartedLogin, authorization_url, check_answer, incomplete
from countline_control.auth.oidc.groups import GroupRule, ProviderPerson, claimed_groups, person_of
from countline_control.auth.oidc.id_tokens import Expected, UnknownKeyError, check_id_token, read_keys
from countline_control.auth.oidc.keys import KEPT_S, KeyCache
from countline_control.auth.oidc.metadata import WELL_KNOWN, ProviderMetadata, read_metadata

MOST_BYTES: Final = 1024 * 1024
_FAILURES: Final = (TimeoutError, aiohttp.ClientError, OSError, ValueError)
"""The provider does not answer, or in a way that cannot be used."""
_REFUSED_CODE: Final = "invalid_grant"

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """How we are known to the provider, and what its groups mean here."""

    issuer: str
    client_id: str
    name: str
    """What people call the provider."""
    client_secret: str = field(default="", repr=False)
    """Empty for a public client."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: str = "groups"
    rules: tuple[GroupRule, ...] = ()
    ca_file: Path | None = None
    """Certificates that vouch for the provider; None for those of the system."""


class IdentityProvider:
    """One identity provider.

    Args:
        config: of the provider.
        limits: of all requests of a login together, as one call.
        wall: returns Unix seconds.
        monotonic: returns monotonic seconds.
    """

    def __init__(
        self,
        config: OidcConfig,
        limits: RetriedCallLimits,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self._wall = wall
        self._monotonic = monotonic
        self._tls = (
            ssl.create_default_context(cafile=config.ca_file) if config.ca_file else ssl.create_default_context()
        )
        self._metadata: tuple[float, ProviderMetadata] | None = None
        self._discovery = asyncio.Lock()
        self._keys = KeyCache(self._load_keys, monotonic)
        self._calls = Dependency("oidc", limits, is_failure=_is_away, clock=monotonic)

    async def login_page(self, started: StartedLogin) -> str:
        """Return the address of the provider's login page.

        Raises:
            UnavailableError: the provider does not answer, or in a way that cannot be used.
        """
        async with self._conversation():
            metadata = await self._discovered()
        return authorization_url(metadata.authorization_endpoint, self.config.client_id, self.config.scopes, started)

    async def person(self, started: StartedLogin, answer: ProviderAnswer) -> ProviderPerson:
        """Return the person who has logged in.

        Args:
            started: the login.
            answer: of the provider; its state is right.

        Raises:
            UnauthenticatedError: the provider refuses, or its answer cannot be trusted.
            UnavailableError: the provider does not answer, or in a way that cannot be used.
        """
        async with self._conversation():
            metadata = await self._discovered()
            names_issuer = metadata.authorization_response_iss_parameter_supported
            check_answer(answer, self.config.issuer, names_issuer=names_issuer)
            tokens = await self._exchange(metadata, started, answer.code)
            access_token = str(tokens.get("access_token", ""))
            expected = Expected(
                self.config.issuer,
                self.config.client_id,
                started.nonce,
                access_token,
                frozenset(metadata.id_token_signing_alg_values_supported),
            )
            claims = await self._checked(str(tokens.get("id_token", "")), expected)
            if claimed_groups(claims, self.config.groups_claim) is None and metadata.userinfo_endpoint:
                claims = {**await self._user_info(metadata, access_token, claims["sub"]), **claims}
        if claimed_groups(claims, self.config.groups_claim) is None:
            _log.warning("oidc.no_groups", claim=self.config.groups_claim, claims=sorted(claims))
        return person_of(claims, self.config.groups_claim)

    @asynccontextmanager
    async def _conversation(self) -> AsyncIterator[None]:
        """Bound the time of requests, and turn failures into errors of ours."""
        try:
            async with self._calls.guarded():
                yield
        except CircuitOpenError as error:
            raise self._away("did not answer several times in a row", error.retry_after_s) from error
        except _FAILURES as error:
            _log.warning("oidc.provider_away", issuer=self.config.issuer, error=str(error) or type(error).__name__)
            # Anybody can begin a login: the log has the reason, which may show addresses inside a network.
            unusable = isinstance(error, ValueError)
            raise self._away("answers in a way that cannot be used" if unusable else "does not answer") from error

    def _away(self, why: str, retry_after_s: float | None = None) -> UnavailableError:
        return UnavailableError(
            f"the identity provider {self.config.name} ({self.config.issuer}) {why}",
            hint="try again later, or log in with a password",
            retry_after_s=retry_after_s,
        )

    async def _discovered(self) -> ProviderMetadata:
        async with self._discovery:
            if self._metadata is None or self._monotonic() - self._metadata[0] >= KEPT_S:
                document = await self._read(f"{self.config.issuer.rstrip('/')}{WELL_KNOWN}")
                self._metadata = self._monotonic(), read_metadata(document, self.config.issuer)
            return self._metadata[1]

    async def _load_keys(self) -> Any:
        return read_keys(await self._read((await self._discovered()).jwks_uri))

    async def _checked(self, token: str, expected: Expected) -> Mapping[str, Any]:
        try:
            return check_id_token(token, await self._keys.current(), expected, self._wall())
        except UnknownKeyError:
            return check_id_token(token, await self._keys.reloaded(), expected, self._wall())

    async def _exchange(self, metadata: ProviderMetadata, started: StartedLogin, code: str) -> Mapping[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": started.redirect_uri,
            "code_verifier": started.verifier,
        }
        headers = {}
        secret, client_id = self.config.client_secret, self.config.client_id
        if secret and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"  # RFC 6749, section 2.3.1
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": client_id} | ({"client_secret": secret} if secret else {})
        answer = await self._json("POST", metadata.token_endpoint, {200, 400, 401}, data=form, headers=headers)
        if error := answer.get("error"):
            raise self._refusal(str(error))
        return answer

    def _refusal(self, error: str) -> CountlineError:
        if error == _REFUSED_CODE:
            return incomplete("the identity provider does not accept its code, which was used before or is too old")
        _log.error("oidc.refused", issuer=self.config.issuer, error=error[:100])
        return UnavailableError(
            f"the identity provider {self.config.name} refuses this installation ({error[:100]})",
            hint="ask an administrator to check COUNTLINE_OIDC_CLIENT_ID and COUNTLINE_OIDC_CLIENT_SECRET_FILE",
        )

    async def _user_info(self, metadata: ProviderMetadata, access_token: str, subject: str) -> Mapping[str, Any]:
        """Return further claims. Some providers keep the ID token short and list groups only here."""
        headers = {"Authorization": f"Bearer {access_token}"}
        found = await self._read(metadata.userinfo_endpoint, headers=headers)
        if found.get("sub") != subject:
            raise incomplete("the identity provider describes another person than it named")
        return found

    async def _read(self, url: str, **request: Any) -> dict[str, Any]:
        """Return the object at an address; read it again after a failure that may pass. Raises as `_json`."""
        async for attempt in self._calls.attempts():
            with attempt:
                return await self._json("GET", url, **request)
        raise AssertionError("attempts end with a result or an exception")

    async def _json(self, method: str, url: str, statuses: Collection[int] = (200,), **request: Any) -> dict[str, Any]:
        """Return the object that an address answers with.

        Raises:
            ValueError: the status is another one, or the answer is no JSON object.
            aiohttp.ClientError: the provider cannot be reached, or its status is 5xx.
        """
        connector = aiohttp.TCPConnector(ssl=self._tls)
        timeout = aiohttp.ClientTimeout(total=self._calls.limits.deadline_s)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, url, allow_redirects=False, **request) as response,
        ):
            body = bytearray()
            async for chunk in response.content.iter_chunked(64 * 1024):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise ValueError(f"{url} answers with more than {MOST_BYTES} bytes")
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                response.raise_for_status()
            if response.status not in statuses:
                raise ValueError(f"{url} answers with HTTP {response.status}")
        value = parse_json(body.decode())
        if not isinstance(value, dict):
            raise ValueError(f"{url} answers with no JSON object")  # noqa: TRY004  (of the provider, not of a caller)
        return value


def _is_away(error: BaseException) -> bool:
    return isinstance(error, _FAILURES) and not isinstance(error, CountlineError)
