"""Acting for another user: a short token that names both, the user and the real caller."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import math
from typing import Final

from countline.v1 import act_pb2
from countline_common.access.scopes import Held, common
from countline_common.access.vocabulary import NOT_WHILE_ACTING, Permission
from countline_common.audit.calls import about
from countline_common.errors import ConflictError, FieldProblem, InvalidInputError, PermissionDeniedError
from countline_common.grpc.calls import Context, current_principal
from countline_common.grpc.tokens import RealCaller
from countline_common.times import to_timestamp
from countline_control.auth import store
from countline_control.auth.access.roles import SUPER_ADMIN
from countline_control.auth.base import ACCESS_LIFETIME_S, place_of
from countline_control.auth.domain import StoredUser
from countline_control.auth.keys.store import get_key
from countline_control.auth.messages import user_message
from countline_control.auth.users import UserMethods, no_user

LONGEST_REASON: Final = 500


class ActingMethods(UserMethods):
    """The method of acting for another user."""

    async def ActFor(self, request: act_pb2.ActForRequest, context: Context) -> act_pb2.ActForResponse:
        principal, reason = current_principal(), _checked_reason(request.reason)
        async with self._database.begin() as connection:
            holder = await self._holder(connection, Permission.USER_IMPERSONATE, "act for users")
            caller = await store.get_user(connection, principal.subject)
            if caller is None:
                raise PermissionDeniedError(f"{principal.name} is no user, and only users act for users")
            user = await store.get_user(connection, request.user_id)
            if user is None:
                raise no_user(request.user_id)
            about(place_of(user))
            self._check_may_act(caller, user)
            key = await get_key(connection, principal.key_id) if principal.key_id else None
            until = min(self._clock() + ACCESS_LIFETIME_S, key.expires_at.timestamp() if key is not None else math.inf)
            acting = act_pb2.Acting(username=user.username, reason=reason, expires_at=to_timestamp(until))
            await self.outbox.record(connection, place_of(user), after=acting)
        actor = RealCaller(caller.user_id, caller.username, caller.access_revision, principal.session_id)
        held = [Held(each.permissions - NOT_WHILE_ACTING, each.scope) for each in common(holder.held, user.held)]
        token = self._signed(user, held, until=until, actor=actor)
        return act_pb2.ActForResponse(access_token=token, expires_at=acting.expires_at, user=user_message(user))

    def _check_may_act(self, caller: StoredUser, user: StoredUser) -> None:
        """Check that a caller may act for a user.

        Raises:
            PermissionDeniedError: the user is a super-admin.
            ConflictError: the user is the caller or a service account, is disabled, or has something to do first.
        """
        name = user.username
        if caller.user_id == user.user_id:
            raise ConflictError("no user acts for itself", hint="call with your own login")
        if any(grant.role == SUPER_ADMIN for grant in user.grants):
            raise PermissionDeniedError(f"{name} is a super-admin, and no user acts for a super-admin")
        if user.service_account:
            raise ConflictError(
                f"{name} is a service account", hint="make a key: countline keys create NAME --for USER"
            )
        if user.disabled_at is not None:
            raise ConflictError(f"{name} is disabled", hint=f"enable the user first: countline users enable {name}")
        if pending := user.pending(self._factor_roles()):
            raise ConflictError(f"{name} may do nothing before this: {pending}", hint=f"ask {name} to do it")


def _checked_reason(text: str) -> str:
    reason = text.strip()
    if not 1 <= len(reason) <= LONGEST_REASON:
        problem = FieldProblem("reason", f"has {len(reason)} characters; give 1 to {LONGEST_REASON}")
        raise InvalidInputError("no user acts for another one without a reason", fields=(problem,))
    return reason
