"""The methods of second factors: what users and administrators do with them; `logins` has the end of a login."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import factor_pb2
from countline_common.access.vocabulary import Permission
from countline_common.errors import ConflictError, FieldProblem, InvalidInputError
from countline_common.grpc.calls import Context, current_principal
from countline_common.times import to_timestamp
from countline_control.auth import store
from countline_control.auth.base import place_of
from countline_control.auth.domain import StoredUser
from countline_control.auth.factor import domain
from countline_control.auth.factor.domain import FactorState
from countline_control.auth.factor.logins import FactorLoginMethods
from countline_control.auth.factor.messages import factor_message, qr_rows
from countline_control.auth.factor.store import FactorSecrets, sealed_factors
from countline_control.auth.limiter import Attempt
from countline_control.auth.messages import user_message
from countline_control.key_rotation import key_messages, rotate


@dataclass(frozen=True, slots=True)
class _Proved:
    """A caller whose password is right, and the attempt that a right code completes."""

    user: StoredUser
    attempt: Attempt


class FactorMethods(FactorLoginMethods):
    """What users do with their second factor, and administrators with those of others."""

    async def GetFactor(self, request: factor_pb2.GetFactorRequest, context: Context) -> factor_pb2.GetFactorResponse:
        async with self._database.begin() as connection:
            user = await self._self(connection, Permission.SELF_READ)
            state = await self._factors.load(connection, user.user_id)
        return factor_pb2.GetFactorResponse(factor=factor_message(state, required=self._is_required(user)))

    async def BeginFactor(
        self, request: factor_pb2.BeginFactorRequest, context: Context
    ) -> factor_pb2.BeginFactorResponse:
        secret, now = domain.new_secret(), self._now()
        action = "set up a second factor"
        caller = await self._proved_password(request.password, context, action)
        await self._change(caller, request.code, lambda state: state.begun(secret, now), new=True)
        uri = domain.otpauth_uri(secret, caller.user.username)
        until = to_timestamp((now + domain.ENROLMENT).timestamp())
        return factor_pb2.BeginFactorResponse(secret=secret, otpauth_uri=uri, qr_rows=qr_rows(uri), expires_at=until)

    async def ConfirmFactor(
        self, request: factor_pb2.ConfirmFactorRequest, context: Context
    ) -> factor_pb2.ConfirmFactorResponse:
        codes = domain.new_recovery_codes()
        caller = await self._database.read(lambda connection: self._self(connection, Permission.SELF_WRITE))
        attempt = await self._count(caller, context)
        async with self._database.begin() as connection:
            await store.lock_users(connection)
            user = await self._self(connection, Permission.SELF_WRITE)
            before = await self._factors.load(connection, user.user_id)
            state = before.confirmed(request.code, self._now(), map(domain.recovery_hash, codes))
            await self._limiter.clear(connection, attempt)
            await self._save(connection, user, before, state)
        return factor_pb2.ConfirmFactorResponse(recovery_codes=codes)

    async def DisableFactor(
        self, request: factor_pb2.DisableFactorRequest, context: Context
    ) -> factor_pb2.DisableFactorResponse:
        caller = await self._proved_password(request.password, context, "switch the second factor off")
        if self._is_required(caller.user):
            raise ConflictError(
                f"a role of {caller.user.username} requires a second factor",
                hint="set up another one in its place: countline auth factor enable",
            )
        await self._change(caller, request.code, lambda _: FactorState())
        return factor_pb2.DisableFactorResponse()

    async def RenewRecoveryCodes(
        self, request: factor_pb2.RenewRecoveryCodesRequest, context: Context
    ) -> factor_pb2.RenewRecoveryCodesResponse:
        codes = domain.new_recovery_codes()
        caller = await self._proved_password(request.password, context, "make recovery codes")
        hashes = tuple(map(domain.recovery_hash, codes))
        await self._change(caller, request.code, lambda state: state.with_recovery(hashes))
        return factor_pb2.RenewRecoveryCodesResponse(recovery_codes=codes)

    async def ResetFactor(
        self, request: factor_pb2.ResetFactorRequest, context: Context
    ) -> factor_pb2.ResetFactorResponse:
        async with self._database.begin() as connection:
            holder, before = await self._changed(connection, request.user_id, "reset the second factor of")
            if holder.subject == before.user_id:  # a session alone must not be enough
                hint = "with password and code: countline auth factor disable"
                raise ConflictError("nobody resets the own second factor", hint=hint)
            if not before.second_factor:
                raise ConflictError(f"{before.username} has no second factor")
            state = await self._factors.load(connection, before.user_id)
            await self._factors.save(connection, before.user_id, state, FactorState())
            user = await self._update_ending_sessions(connection, replace(before, second_factor=False))
            await self._record_user(connection, "factor_reset", user, holder.name, before=before)
        return factor_pb2.ResetFactorResponse(user=user_message(user))

    async def ListFactorKeys(
        self, request: factor_pb2.ListFactorKeysRequest, context: Context
    ) -> factor_pb2.ListFactorKeysResponse:
        async with self._database.begin() as connection:
            found = await key_messages(connection, self.data_keys, await sealed_factors(connection))
        return factor_pb2.ListFactorKeysResponse(data_keys=found)

    async def RotateFactorKeys(
        self, request: factor_pb2.RotateFactorKeysRequest, context: Context
    ) -> factor_pb2.RotateFactorKeysResponse:
        async with self._database.begin() as connection:
            # Several transactions follow.
            await self.outbox.record(connection, "secrets/factor-keys", finished=False)
        done = await rotate(self.data_keys, FactorSecrets(self._database, self._factors).seal_all)
        keys = (await self.ListFactorKeys(factor_pb2.ListFactorKeysRequest(), context)).data_keys
        return factor_pb2.RotateFactorKeysResponse(
            key_id=done.key_id,
            master_key_id=next(key.master_key_id for key in keys if key.key_id == done.key_id),
            sealed=done.sealed,
            unreadable=done.unreadable,
            older_keys=done.older_keys,
        )

    async def _proved_password(self, password: str, context: Context, action: str) -> _Proved:
        """Return the caller, whose password is right. The attempt counts as failed until the code was right too.

        Raises:
            InvalidInputError: the password is wrong.
            ConflictError: the caller has no password.
        """
        user = await self._database.read(lambda connection: self._self(connection, Permission.SELF_WRITE))
        if not user.password_hash:
            raise ConflictError(f"{user.username} has no password, beside which a second factor could stand")
        attempt = await self._count(user, context)
        if not await self._passwords.matches(user.password_hash, password):
            raise InvalidInputError(f"cannot {action}", fields=(FieldProblem("password", "is wrong"),))
        return _Proved(user, attempt)

    async def _change(
        self,
        caller: _Proved,
        code: str,
        change: Callable[[FactorState], FactorState],
        *,
        new: bool = False,
    ) -> None:
        """Change the caller's second factor after its code was checked.

        Args:
            caller: whose password is right.
            code: of the present second factor.
            change: makes the new state.
            new: whether the caller may have no second factor yet.
        """
        async with self._database.begin() as connection:
            await store.lock_users(connection)
            current = await self._self(connection, Permission.SELF_WRITE)
            if current.password_hash != caller.user.password_hash:
                raise InvalidInputError("the password was changed meanwhile", hint="log in again: countline login")
            before = await self._factors.load(connection, current.user_id)
            proved = before if new and before.active is None else before.proved(code, self._now())[0]
            await self._limiter.clear(connection, caller.attempt)
            await self._save(connection, current, before, change(proved))

    async def _save(
        self, connection: AsyncConnection, user: StoredUser, before: FactorState, after: FactorState
    ) -> None:
        """Store the caller's second factor. With another one, or none, the caller's other sessions end."""
        await self._factors.save(connection, user.user_id, before, after)
        if not after.asks_like(before):
            await self._update_ending_sessions(connection, user, keep=current_principal().session_id)
        required = self._is_required(user)
        old, new = factor_message(before, required=required), factor_message(after, required=required)
        await self.outbox.record(connection, f"{place_of(user)}/factor", before=old, after=new)

    def _is_required(self, user: StoredUser) -> bool:
        return user.requires_factor(self._factor_roles())
