"""What the parts of the auth service share: the database, tokens, and the record of changes."""

import hashlib
import math
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import auth_pb2
from countline_common.access.scopes import EVERYTHING, Held
from countline_common.administration.current import CurrentSettings
from countline_common.data.outbox import Outbox, OutboxTrail
from countline_common.errors import PermissionDeniedError, UnauthenticatedError
from countline_common.grpc.authorization import FIRST
from countline_common.grpc.calls import current_principal
from countline_common.grpc.tokens import RealCaller, TokenSigner
from countline_common.http.client_address import Network
from countline_common.times import to_datetime, to_timestamp
from countline_control.auth import store
from countline_control.auth.access.holding import Grantor, check_may_give
from countline_control.auth.access.places import PlaceSource
from countline_control.auth.domain import StoredUser
from countline_control.auth.keys.store import get_key
from countline_control.auth.messages import user_message
from countline_control.auth.passwords import Passwords
from countline_control.auth.tables import outbox as outbox_rows
from countline_control.database import Database

ACCESS_LIFETIME_S: Final = 5 * 60
"""Short: services other than auth check tokens without a lookup, so a token works until it expires."""


class AuthBase:
    """What the parts of the auth service share.

    Args:
        database: holds the schema `auth`.
        signer: signs access tokens.
        passwords: hashes passwords.
        clock: returns Unix seconds.
        trusted_proxies: proxies whose header for a caller's address is used.
    """

    def __init__(
        self,
        database: Database,
        signer: TokenSigner,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.time,
        trusted_proxies: Collection[Network] = (),
    ) -> None:
        self._trusted_proxies = trusted_proxies
        self._database = database
        self._signer = signer
        self._passwords = passwords or Passwords()
        self._clock = clock
        self.outbox = Outbox(outbox_rows)
        self.trail = OutboxTrail(database.begin, self.outbox)
        self.current = CurrentSettings()
        """Settings that may change while the process runs."""
        self.place_source: PlaceSource | None = None
        """Knows which sites and cameras exist; None for an auth that serves no cameras."""
        self.password_changed: Callable[[str], object] = lambda _: None
        """Called with the name of a user whose password was replaced."""

    def _now(self) -> datetime:
        return to_datetime(self._clock())

    async def _holder(self, connection: AsyncConnection, permission: str, action: str) -> Grantor:
        """Return the caller as the database knows it now: its token may be older than its last change.

        Args:
            connection: of the caller's transaction.
            permission: what the method needs, over everything.
            action: as it follows "may not".

        Raises:
            UnauthenticatedError: the user of the token no longer exists, or is disabled.
            PermissionDeniedError: the caller no longer holds the permission.
        """
        principal = current_principal()
        user = await store.get_user(connection, principal.subject)
        if (user is None and principal.session_id) or (user is not None and user.disabled_at is not None):
            raise UnauthenticatedError(f"user {principal.name!r} may no longer log in", hint="log in as another user")
        held = await self._held(connection, user, giving=True) if user is not None else principal.held
        holder = Grantor(principal.subject, principal.real_name, held)
        check_may_give(holder, (Held(frozenset({permission})),), action)
        return holder

    async def _self(self, connection: AsyncConnection, permission: str) -> StoredUser:
        """Return the caller as a user.

        Raises:
            UnauthenticatedError: the user no longer exists or is disabled, the session has ended, or the token
                belongs to a worker or service.
            PermissionDeniedError: the user no longer holds the permission.
        """
        principal = current_principal()
        user = await store.get_user(connection, principal.subject)
        if user is None or user.disabled_at is not None:
            raise UnauthenticatedError(f"user {principal.name!r} no longer exists", hint="log in as another user")
        if not any(permission in held.permissions for held in await self._held(connection, user)):
            raise PermissionDeniedError(f"{user.username} does not hold '{permission}'")
        return user

    async def _held(self, connection: AsyncConnection, user: StoredUser, *, giving: bool = False) -> tuple[Held, ...]:
        """Return what a user holds in the current call: an API key, or somebody who acts for the user, may hold less.

        Args:
            connection: of the caller's transaction.
            user: the caller.
            giving: return what the caller may give to other users. With an API key, that is more than it holds.

        Raises:
            UnauthenticatedError: the session or the key of the call has ended.
        """
        principal = current_principal()
        if principal.actor is not None:
            await _check_actor(connection, principal.actor, self._now())
            return principal.held
        if principal.key_id:
            key = await get_key(connection, principal.key_id)
            if key is None or not key.works(self._now()):
                raise UnauthenticatedError("this API key has ended", hint="make a new key: countline keys create")
            return key.may_give(user) if giving else key.held(user)
        if principal.session_id and not await store.is_open(connection, principal.session_id):
            raise UnauthenticatedError("this session has ended", hint="log in again: countline login")
        return user.usable_in_session(self._factor_roles())

    def _factor_roles(self) -> frozenset[str]:
        """Roles that require a second factor."""
        return self.current.names("second_factor_roles")

    def _check_nothing_pending(self, user: StoredUser, action: str) -> None:
        """Check that a user has nothing to do before anything else.

        Raises:
            PermissionDeniedError: a password has to be chosen, or a second factor to be set up.
        """
        if pending := user.pending(self._factor_roles()):
            raise PermissionDeniedError(f"{user.username} may not {action} before this: {pending}", hint=FIRST[pending])

    def _own_message(self, user: StoredUser) -> auth_pb2.User:
        """Translate a user for this user itself."""
        message = user_message(user)
        message.must_set_up_second_factor = user.must_set_up_factor(self._factor_roles())
        return message

    def _signed(
        self,
        user: StoredUser,
        held: Collection[Held],
        session_id: str = "",
        key_id: str = "",
        until: float = math.inf,
        pending: str = "",
        actor: RealCaller | None = None,
    ) -> str:
        """Return an access token of a session, an API key or an actor, which ends at `until` at the latest."""
        return self._signer.sign(
            user.user_id,
            user.username,
            roles=user.roles,
            permissions=frozenset[str]().union(*(each.permissions for each in held if each.scope == EVERYTHING)),
            scoped=tuple(each for each in held if each.scope != EVERYTHING),
            lifetime_s=min(ACCESS_LIFETIME_S, until - self._clock()),
            session_id=session_id or key_id,
            access_revision=user.access_revision,
            key_id=key_id,
            pending=pending,
            actor=actor,
        )

    async def _end_access(
        self, connection: AsyncConnection, user_id: str, *, access_revision: int = 0, session_ids: Sequence[str] = ()
    ) -> None:
        """Announce to all services that access tokens have to be refused before they expire.

        Args:
            connection: of the transaction that ends the access.
            user_id: whose tokens.
            access_revision: tokens of earlier revisions end; 0 for none of them.
            session_ids: tokens of these sessions end.
        """
        at = to_timestamp(self._clock())
        message = auth_pb2.AccessEnded(user_id=user_id, access_revision=access_revision, session_ids=session_ids, at=at)
        await self.outbox.add(connection, "access", "ended", "auth", message)

    async def _logout_everywhere(self, connection: AsyncConnection, user_id: str) -> None:
        await store.end_sessions(connection, user_id, self._now())
        revisions = await store.end_access(connection, [user_id])
        await self._end_access(connection, user_id, access_revision=revisions[user_id])

    async def _update_ending_sessions(
        self, connection: AsyncConnection, user: StoredUser, *, keep: str = ""
    ) -> StoredUser:
        """Store a changed user, and end the sessions and the access tokens of the user.

        Args:
            connection: of the transaction of the change.
            user: with the change.
            keep: a session that stays open. It has to refresh its access token.

        Returns:
            The user as it is stored, with its new revisions.
        """
        user = user.revised()
        await store.update_user(connection, user)
        await store.end_sessions(connection, user.user_id, self._now(), keep=keep)
        await self._end_access(connection, user.user_id, access_revision=user.access_revision)
        return user

    async def _record_user(
        self, connection: AsyncConnection, event: str, user: StoredUser, actor: str, *, before: StoredUser | None = None
    ) -> None:
        """Add a change of a user to the outbox and to the audit.

        Args:
            connection: of the transaction of the change.
            event: what happened, such as `updated`.
            user: the user now; for `deleted` the one that was deleted.
            actor: name of the caller.
            before: the user before a change.
        """
        message, old = user_message(user), user_message(before) if before is not None else None
        await self.outbox.add(connection, "user", event, actor, message)
        old, new = (message, None) if event == "deleted" else (old, message)
        await self.outbox.record(connection, place_of(user), before=old, after=new)


async def _check_actor(connection: AsyncConnection, actor: RealCaller, now: datetime) -> None:
    """Check that the access of the real caller is as it was when its token was issued.

    Raises:
        UnauthenticatedError: it has ended or changed.
    """
    user, key = await store.get_user(connection, actor.subject), await get_key(connection, actor.session_id)
    is_open = key.works(now) if key is not None else await store.is_open(connection, actor.session_id)
    if user is None or user.access_revision != actor.access_revision or not is_open:
        raise UnauthenticatedError(f"the login of {actor.name} has ended or changed", hint="log in again")


def place_of(user: StoredUser) -> str:
    """Return the resource of a user in the audit."""
    return f"users/{user.username}"


def hash_of(token: str) -> bytes:
    """Return the hash under which a refresh token is stored."""
    return hashlib.sha256(token.encode()).digest()


def check_no_key(action: str) -> None:
    """Check that the caller has logged in: who steals an API key must not be able to keep the account.

    Args:
        action: as it follows "cannot".

    Raises:
        PermissionDeniedError: the caller uses an API key.
    """
    if current_principal().key_id:
        raise PermissionDeniedError(f"an API key cannot {action}", hint="log in: countline login")
