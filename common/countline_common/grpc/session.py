"""A login that is renewed before it expires."""

import asyncio
import hashlib
import time
from dataclasses import replace
from typing import Final

from countline.v1 import (
    act_pb2,
    act_pb2_grpc,
    auth_pb2,
    auth_pb2_grpc,
    factor_pb2,
    factor_pb2_grpc,
    oidc_pb2,
    oidc_pb2_grpc,
)
from countline_common.access.acting import ActingFor
from countline_common.errors import CountlineError, NotFoundError, UnauthenticatedError
from countline_common.files.text_files import read_text
from countline_common.grpc.discovery import ServerProfile
from countline_common.grpc.errors import translated
from countline_common.grpc.logins import RENEWED_BEFORE_S, Login
from countline_common.grpc.paging import every_page
from countline_common.secrets.secret_files import CHANGED
from countline_common.times import from_timestamp

ADMIN: Final = "admin"
CALL_TIMEOUT_S: Final = 10.0


class LoginSession:
    """A login that is renewed before it expires.

    Args:
        auth: the auth service.
        factor: its service of second factors.
        oidc: its service of logins through an identity provider.
        target: the server, with the file of the login.
    """

    def __init__(
        self,
        auth: "auth_pb2_grpc.AuthServiceAsyncStub",
        factor: "factor_pb2_grpc.FactorServiceAsyncStub",
        oidc: "oidc_pb2_grpc.OidcServiceAsyncStub",
        target: ServerProfile,
    ) -> None:
        self._auth = auth
        self._factor = factor
        self._oidc = oidc
        self._target = target
        self._login: Login | None = None
        self._renewing = asyncio.Lock()

    @property
    def has_key(self) -> bool:
        """Whether an API key stands in for a login."""
        return bool(self._target.api_key)

    async def access_token(self) -> str:
        """An access token that is valid for a minute at least, or the API key.

        Raises:
            UnauthenticatedError: there is no login, or it has expired.
        """
        if self.has_key:
            return self._target.api_key
        async with self._renewing:
            if self._login is None or not self._login.is_fresh(time.time()):
                self._login = await self._stored_or_renewed()
            return self._login.access_token

    async def log_in(self, username: str, password: str) -> auth_pb2.User | auth_pb2.LoginChallenge:
        """Log in and store the login. A user with a second factor gets a challenge for `finish_login`.

        Raises:
            UnauthenticatedError: the user name or the password is wrong.
        """
        response = await self._call_login(username, password)
        if response.HasField("second_factor"):
            return response.second_factor
        self._save(response.tokens, response.user)
        return response.user

    async def finish_login(self, challenge: auth_pb2.LoginChallenge, code: str) -> factor_pb2.FinishLoginResponse:
        """Complete a login with a code of the second factor, and store the login.

        Raises:
            UnauthenticatedError: the code is wrong, or the challenge has expired.
        """
        request = factor_pb2.FinishLoginRequest(challenge=challenge.challenge, code=code)
        with translated(self._target.endpoints.auth):
            response = await self._factor.FinishLogin(request, timeout=CALL_TIMEOUT_S)
        self._save(response.tokens, response.user)
        return response

    async def start_oidc_login(self, redirect_uri: str) -> oidc_pb2.StartOidcLoginResponse:
        """Begin a login through the identity provider, which sends the browser to `redirect_uri` afterwards.

        Raises:
            ConflictError: no identity provider is configured.
        """
        with translated(self._target.endpoints.auth):
            request = oidc_pb2.StartOidcLoginRequest(redirect_uri=redirect_uri)
            return await self._oidc.StartOidcLogin(request, timeout=CALL_TIMEOUT_S)

    async def finish_oidc_login(self, request: oidc_pb2.FinishOidcLoginRequest) -> auth_pb2.User:
        """Complete a login with the answer of the identity provider, and store the login.

        Raises:
            UnauthenticatedError: the provider refused the login, or the answer belongs to another one.
        """
        with translated(self._target.endpoints.auth):
            response = await self._oidc.FinishOidcLogin(request, timeout=CALL_TIMEOUT_S)
        self._save(response.tokens, response.user)
        return response.user

    def _save(self, tokens: auth_pb2.Tokens, user: auth_pb2.User) -> None:
        self._login = _login(tokens, user.username)
        self._target.login_file.save(self._login)

    async def log_out(self) -> None:
        """End the session and delete the stored login, if there is one."""
        login = self._target.login_file.load()
        if login is None:
            return
        with translated(self._target.endpoints.auth):
            request = auth_pb2.LogoutRequest(refresh_token=login.refresh_token)
            await self._auth.Logout(request, timeout=CALL_TIMEOUT_S)
        self._target.login_file.delete()
        self._login = None

    async def renew(self, refused: str = "") -> None:
        """Renew the login at once, because what it permits has changed.

        Args:
            refused: the access token that a service refused; if another one is stored already, that one is used.

        Raises:
            UnauthenticatedError: the session has ended.
        """
        if self.has_key:
            return
        async with self._renewing, self._target.login_file.locked():
            stored = self._stored()
            if stored is None or not refused or stored.access_token == refused:
                stored = await self._renewed(stored)
                self._target.login_file.save(stored)
            self._login = stored

    async def _stored_or_renewed(self) -> Login:
        async with self._target.login_file.locked():
            stored = self._stored()
            if stored is not None and stored.is_fresh(time.time()):
                return stored  # another process has renewed it
            renewed = await self._renewed(stored)
            self._target.login_file.save(renewed)
            return renewed

    def _stored(self) -> Login | None:
        stored = self._target.login_file.load()
        if stored is None or self._target.password_file is None:
            return stored
        password = self._password()
        return stored if password == CHANGED or stored.made_with == _hash(password) else None

    async def _renewed(self, stored: Login | None) -> Login:
        if stored is not None and stored.refresh_expires_at > time.time():
            try:
                with translated(self._target.endpoints.auth):
                    request = auth_pb2.RefreshTokenRequest(refresh_token=stored.refresh_token)
                    response = await self._auth.RefreshToken(request, timeout=CALL_TIMEOUT_S)
                return replace(_login(response.tokens, stored.username), made_with=stored.made_with)
            except UnauthenticatedError:
                if self._target.password_file is None:
                    raise
        if self._target.password_file is None:
            problem = "your login has expired" if stored else "you are not logged in"
            raise UnauthenticatedError(problem, hint=self._target.login_command)
        password = self._password()
        if password == CHANGED:
            raise self._changed()
        try:
            response_to_password = await self._call_login(ADMIN, password)
        except UnauthenticatedError as error:
            raise self._changed() from error
        if response_to_password.HasField("second_factor"):
            raise UnauthenticatedError(
                f"{ADMIN} has a second factor, so the password in {self._target.password_file} is not enough to log in",
                hint=f"countline login --username {ADMIN}",
            )
        return replace(_login(response_to_password.tokens, ADMIN), made_with=_hash(password))

    async def _call_login(self, username: str, password: str) -> auth_pb2.LoginResponse:
        request = auth_pb2.LoginRequest(username=username, password=password)
        with translated(self._target.endpoints.auth):
            return await self._auth.Login(request, timeout=CALL_TIMEOUT_S)

    def _password(self) -> str:
        path = self._target.password_file
        try:
            return read_text(path).strip() if path is not None else ""
        except CountlineError as error:
            raise UnauthenticatedError(
                f"cannot read the admin password: {error.message}",
                hint="run this as the user that started Countline, or log in: countline login",
            ) from error

    def _changed(self) -> UnauthenticatedError:
        return UnauthenticatedError(
            f"the password of {ADMIN} was changed, so {self._target.password_file} cannot be used to log in",
            hint=f"countline login --username {ADMIN}",
        )


class ActingSession:
    """Tokens with which a caller acts for a user; each is fetched when the one before ends soon.

    Args:
        acting: the service of acting; its calls carry the caller's own login.
        auth: the auth service, likewise.
        wanted: for whom, and why.
        address: HOST:PORT of auth, for errors.
    """

    has_key: Final = False

    def __init__(
        self,
        acting: "act_pb2_grpc.ActingServiceAsyncStub",
        auth: "auth_pb2_grpc.AuthServiceAsyncStub",
        wanted: ActingFor,
        address: str,
    ) -> None:
        self._acting = acting
        self._auth = auth
        self._wanted = wanted
        self._address = address
        self._kept = act_pb2.ActForResponse()
        self._renewing = asyncio.Lock()

    async def access_token(self) -> str:
        """An access token that is valid for a minute at least.

        Raises:
            NotFoundError: there is no such user.
            CountlineError: the caller may not act for the user.
        """
        async with self._renewing:
            if time.time() >= from_timestamp(self._kept.expires_at) - RENEWED_BEFORE_S:
                with translated(self._address):
                    request = act_pb2.ActForRequest(user_id=await self._user_id(), reason=self._wanted.reason)
                    self._kept = await self._acting.ActFor(request, timeout=CALL_TIMEOUT_S)
            return self._kept.access_token

    async def renew(self, refused: str) -> None:
        """Drop a token that a service refused."""
        if self._kept.access_token == refused:
            self._kept = act_pb2.ActForResponse()

    async def _user_id(self) -> str:
        if self._kept.user.user_id:
            return self._kept.user.user_id
        users: list[auth_pb2.User] = await every_page(
            lambda token: self._auth.ListUsers(auth_pb2.ListUsersRequest(page_token=token)), lambda answer: answer.users
        )
        named = self._wanted.user
        found = next((user for user in users if named in (user.user_id, user.username)), None)
        if found is None:
            raise NotFoundError(f"there is no user {named!r}", hint="list the users: countline users list")
        return found.user_id


def _hash(password: str) -> str:
    return hashlib.sha256(b"countline" + password.encode()).hexdigest()[:32]


def _login(tokens: auth_pb2.Tokens, username: str) -> Login:
    return Login(
        username=username,
        access_token=tokens.access_token,
        access_expires_at=from_timestamp(tokens.access_expires_at),
        refresh_token=tokens.refresh_token,
        refresh_expires_at=from_timestamp(tokens.refresh_expires_at),
    )
