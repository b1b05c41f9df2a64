"""Users of people who log in through a provider: found by identity, created, and given what their groups map to."""

import secrets
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.access.scopes import EVERYTHING
from countline_common.administration.maintenance import check_off
from countline_common.audit.calls import about
from countline_common.errors import ConflictError, PermissionDeniedError
from countline_common.logs import get_logger
from countline_control.auth import store
from countline_control.auth.access import store as access_store
from countline_control.auth.access.holding import Grantor, check_may_give, grant_problems
from countline_control.auth.access.roles import SUPER_ADMIN
from countline_control.auth.base import place_of
from countline_control.auth.domain import Grant, StoredUser
from countline_control.auth.messages import user_message
from countline_control.auth.oidc import store as oidc_store
from countline_control.auth.oidc.flow import LoginFlow
from countline_control.auth.oidc.groups import ProviderPerson, grants_of_groups, held_of_groups, regranted
from countline_control.auth.oidc.provider import IdentityProvider
from countline_control.auth.oidc.store import StoredIdentity
from countline_control.auth.users import UserMethods

MOST_NUMBERED: Final = 20
"""Users whose names differ by a small number; further ones get a random one."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OidcLogins:
    """What logins through a provider need."""

    provider: IdentityProvider
    flow: LoginFlow


class PersonMethods(UserMethods):
    """What a login through a provider does with the user of a person."""

    oidc: OidcLogins | None = None
    """None if no provider is configured."""

    def _configured(self) -> OidcLogins:
        """Return what logins need.

        Raises:
            ConflictError: no provider is configured.
        """
        if self.oidc is None:
            raise ConflictError("no identity provider is configured", hint="log in with a password")
        return self.oidc

    async def _check_may_log_in_as(self, connection: AsyncConnection, holder: Grantor, action: str) -> None:
        """Check that a caller holds everything that the groups of any person can give.

        Who can log in as a linked user gets what the groups give at a later login of the person. They are unknown
        until then.

        Args:
            connection: of the caller's transaction.
            holder: the caller.
            action: what lets the caller log in as a linked user, as it follows "may not".

        Raises:
            PermissionDeniedError: the caller lacks something.
        """
        rules = self._configured().provider.config.rules
        check_may_give(holder, held_of_groups(rules, await access_store.roles_by_name(connection)), action)

    async def _user_of(
        self, connection: AsyncConnection, person: ProviderPerson
    ) -> tuple[StoredUser | None, StoredUser]:
        """Return the user of a person before the groups of the person are applied (None if new), and after.

        Raises:
            PermissionDeniedError: the user is disabled, or a new person has no role.
            UnavailableError: a new person logs in during maintenance.
        """
        identity = await oidc_store.find_identity(connection, person.issuer, person.subject)
        stored = await store.get_user(connection, identity.user_id) if identity is not None else None
        if identity is None or stored is None:
            return None, await self._new_person(connection, person)
        about(place_of(stored), stored.user_id, stored.username)
        if stored.disabled_at is not None:
            raise PermissionDeniedError(f"user {stored.username!r} is disabled", hint="ask an administrator")
        await oidc_store.use_identity(connection, identity.identity_id, self._now())
        return stored, await self._with_groups(connection, stored, person)

    async def _new_person(self, connection: AsyncConnection, person: ProviderPerson) -> StoredUser:
        """Create a user for a person who logs in for the first time, and link both.

        Raises:
            PermissionDeniedError: the person has no role.
            UnavailableError: the system is in maintenance.
        """
        user = self._new_user(await _free_name(connection, person.username), "")
        user = replace(user, display_name=person.display_name, email=person.email, last_login_at=self._now())
        user = replace(user, grants=await self._mapped(connection, user, person))
        if not user.grants:
            raise without_role()
        check_off(self.current, "no user can be created for a new person")
        await store.insert_user(connection, user)
        await access_store.set_grants(connection, user.user_id, user.grants, user.username, self._now())
        identity = StoredIdentity(uuid4().hex, user.user_id, person.issuer, person.subject, self._now(), self._now())
        await oidc_store.insert_identity(connection, identity)
        await self.outbox.add(connection, "user", "created", user.username, user_message(user))
        return user

    async def _with_groups(self, connection: AsyncConnection, stored: StoredUser, person: ProviderPerson) -> StoredUser:
        """Store what the groups of a person give now; return the user, whose older access tokens end."""
        user = replace(stored, last_login_at=self._now(), grants=await self._mapped(connection, stored, person))
        if set(user.grants) != set(stored.grants):
            user = replace(user, revision=stored.revision + 1, access_revision=stored.access_revision + 1)
            await access_store.set_grants(connection, user.user_id, user.grants, user.username, self._now())
            await self._end_access(connection, user.user_id, access_revision=user.access_revision)
            await self.outbox.add(connection, "user", "updated", user.username, user_message(user))
        await store.update_user(connection, user)
        return user

    async def _mapped(self, connection: AsyncConnection, user: StoredUser, person: ProviderPerson) -> tuple[Grant, ...]:
        """Return the grants of a user with those that the groups of the person give now.

        Raises:
            ConflictError: they are more than an access token can hold.
        """
        known = await access_store.roles_by_name(connection)
        rules = self._configured().provider.config.rules
        for rule in rules:
            if rule.role not in known:  # the role was deleted since the start
                _log.warning("oidc.unknown_role", role=rule.role, group=rule.group, line=rule.line)
        grants = regranted(user.grants, grants_of_groups(rules, person.groups, known))
        lost = [grant for grant in user.grants if _is_super_admin(grant) and grant not in grants]
        if lost and not await access_store.count_other_super_admins(connection, user.user_id):
            _log.warning("oidc.last_super_admin", username=user.username)
            grants = (*grants, *lost)
        if grants:
            _check_size(grants)
        return grants


def _is_super_admin(grant: Grant) -> bool:
    return grant.role == SUPER_ADMIN and grant.scope == EVERYTHING


def _check_size(grants: tuple[Grant, ...]) -> None:
    ordered = sorted(grants, key=lambda grant: grant.scope != EVERYTHING)
    everywhere = sum(grant.scope == EVERYTHING for grant in grants)
    roles = {grant.role for grant in grants}
    problems = grant_problems([(grant.role, grant.scope) for grant in ordered], roles, everywhere)
    if problems:
        raise ConflictError(
            f"the groups of this person give more than a user can hold: {problems[0].field} {problems[0].message}",
            hint="ask an administrator to map groups to whole sites",
        )


async def _free_name(connection: AsyncConnection, wanted: str) -> str:
    """Return a user name that is not taken: the wanted one, or one with a number."""
    for number in range(1, MOST_NUMBERED):
        name = wanted if number == 1 else f"{wanted}-{number}"
        if await store.find_user(connection, name) is None:
            return name
    return f"{wanted}-{secrets.token_hex(3)}"


def without_role() -> PermissionDeniedError:
    """Return the error for a person none of whose groups is mapped to a role."""
    return PermissionDeniedError(
        "none of your groups at the identity provider has a role here",
        hint="ask an administrator to add you to such a group",
    )
