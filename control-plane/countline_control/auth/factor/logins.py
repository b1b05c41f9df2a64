"""The end of a login with a second factor."""
# ruff: noqa: N802  (names and arguments of the methods are gRPC's)

from typing import Any

from countline.v1 import factor_pb2
from countline_common.audit.calls import about
from countline_common.errors import UnauthenticatedError
from countline_common.grpc.calls import Context
from countline_control.auth import store
from countline_control.auth.accounts import AccountMethods
from countline_control.auth.base import hash_of, place_of
from countline_control.auth.domain import StoredUser
from countline_control.auth.factor.domain import WrongCodeError
from countline_control.auth.factor.store import FactorStore, StoredChallenge, get_challenge, take_challenge
from countline_control.auth.limiter import Attempt
from countline_control.auth.messages import tokens_message
from countline_control.auth.profiles import ProfileMethods
from countline_control.data_keys import DataKeys


class FactorLoginMethods(ProfileMethods, AccountMethods):
    """The method that completes a login.

    Args:
        data_keys: seal the secrets of second factors.
        arguments: of `AuthBase`.
        options: of `AuthBase`.
    """

    def __init__(self, *arguments: Any, data_keys: DataKeys, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.data_keys = data_keys
        self._factors = FactorStore(data_keys)

    async def FinishLogin(
        self, request: factor_pb2.FinishLoginRequest, context: Context
    ) -> factor_pb2.FinishLoginResponse:
        hashed = hash_of(request.challenge)
        challenge, user = await self._challenged(hashed)
        about(place_of(user))
        attempt = await self._count(user, context)
        async with self._database.begin() as connection:
            user = await self._logged_in(connection, user)
            before = await self._factors.load(connection, user.user_id)
            if not _is_current(challenge, user) or before.active is None:
                raise _no_challenge()
            try:
                state, proof = before.proved(request.code, self._now())
            except WrongCodeError as error:
                raise UnauthenticatedError(error.message, hint="try again") from error
            if not await take_challenge(connection, hashed):
                raise _no_challenge()
            await self._factors.save(connection, user.user_id, before, state)
            await self._limiter.clear(connection, attempt)
            session, tokens = await self._open_session(connection, user, context)
            login = factor_pb2.FactorLogin(session=session, proved_by=proof, recovery_codes_left=len(state.recovery))
            await self.outbox.record(connection, place_of(user), after=login)
        return factor_pb2.FinishLoginResponse(
            tokens=tokens_message(tokens), user=self._own_message(user), recovery_codes_left=len(state.recovery)
        )

    async def _challenged(self, challenge_hash: bytes) -> tuple[StoredChallenge, StoredUser]:
        """Return a login that waits for a code, and its user.

        Raises:
            UnauthenticatedError: there is none, or it has expired.
        """
        async with self._database.begin() as connection:
            challenge = await get_challenge(connection, challenge_hash)
            user = await store.get_user(connection, challenge.user_id) if challenge is not None else None
        if challenge is None or user is None or challenge.expires_at <= self._now():
            raise _no_challenge()
        return challenge, user

    async def _count(self, user: StoredUser, context: Context) -> Attempt:
        """Count an attempt as failed, as a login does, before anything is checked."""
        address = self._address_of(context)
        known = await self._limiter.knows(user.username, address)
        return await self._limiter.count(user.username, address, known=known)


def _is_current(challenge: StoredChallenge, user: StoredUser) -> bool:
    return challenge.access_revision == user.access_revision


def _no_challenge() -> UnauthenticatedError:
    return UnauthenticatedError("the login has expired", hint="log in again with the password")
