"""API keys: made, listed, rotated and revoked, and exchanged for access tokens."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

import hmac
from dataclasses import replace
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import keys_pb2
from countline_common.access.api_keys import new_key, read_key
from countline_common.access.vocabulary import Permission
from countline_common.errors import (
    ConflictError,
    NotFoundError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from countline_common.grpc.calls import Context, current_principal
from countline_common.times import from_timestamp, to_datetime
from countline_control.auth import domain, store
from countline_control.auth.access.holding import Grantor, check_may_give
from countline_control.auth.base import place_of
from countline_control.auth.domain import StoredUser
from countline_control.auth.keys import store as key_store
from countline_control.auth.keys.accounts import ServiceAccountMethods
from countline_control.auth.keys.domain import MOST_KEYS, StoredKey, check_name, check_overlap, expiry
from countline_control.auth.keys.messages import key_message
from countline_control.auth.users import no_user


class KeyMethods(ServiceAccountMethods):
    """The methods of API keys."""

    async def ExchangeKey(self, request: keys_pb2.ExchangeKeyRequest, context: Context) -> keys_pb2.ExchangeKeyResponse:
        return keys_pb2.ExchangeKeyResponse(access_token=await self.exchange_key(request.key))

    async def exchange_key(self, text: str) -> str:
        """Return an access token for a key.

        Raises:
            UnauthenticatedError: the key is unknown, revoked or expired, or its owner is disabled.
        """
        parts = read_key(text)
        async with self._database.begin() as connection:
            key = await key_store.get_key(connection, parts.key_id)
            owner = await store.get_user(connection, key.user_id) if key is not None else None
            if key is None or owner is None or not hmac.compare_digest(key.secret_hash, parts.secret_hash):
                raise _refused("is unknown")
            if not key.works(self._now()):
                raise _refused("was revoked" if key.revoked_at else "has expired")
            if owner.disabled_at is not None:
                raise _refused("belongs to a disabled user")
            await key_store.use_key(connection, key.key_id, self._now())
        until = key.expires_at.timestamp()
        return self._signed(owner, key.held(owner), key_id=key.key_id, until=until, pending=owner.pending(()))

    async def CreateKey(self, request: keys_pb2.CreateKeyRequest, context: Context) -> keys_pb2.CreateKeyResponse:
        async with self._database.begin() as connection:
            owner = await self._owner(connection)
            holder = Grantor(owner.user_id, owner.username, owner.usable)
            return keys_pb2.CreateKeyResponse(api_key=await self._created(connection, holder, owner, request.api_key))

    async def CreateUserKey(
        self, request: keys_pb2.CreateUserKeyRequest, context: Context
    ) -> keys_pb2.CreateUserKeyResponse:
        async with self._database.begin() as connection:
            holder, owner = await self._account(connection, request.user_id, "create keys of")
            created = await self._created(connection, holder, owner, request.api_key)
        return keys_pb2.CreateUserKeyResponse(api_key=created)

    async def ListKeys(self, request: keys_pb2.ListKeysRequest, context: Context) -> keys_pb2.ListKeysResponse:
        owner = current_principal().subject
        found = await self._database.read(lambda connection: key_store.keys_of(connection, owner))
        return keys_pb2.ListKeysResponse(api_keys=map(key_message, found))

    async def ListUserKeys(
        self, request: keys_pb2.ListUserKeysRequest, context: Context
    ) -> keys_pb2.ListUserKeysResponse:
        async with self._database.begin() as connection:
            if await store.get_user(connection, request.user_id) is None:
                raise no_user(request.user_id)
            found = await key_store.keys_of(connection, request.user_id)
        return keys_pb2.ListUserKeysResponse(api_keys=map(key_message, found))

    async def RevokeKey(self, request: keys_pb2.RevokeKeyRequest, context: Context) -> keys_pb2.RevokeKeyResponse:
        async with self._database.begin() as connection:
            owner = await self._self(connection, Permission.SELF_WRITE)
            await self._revoke(connection, owner, request.key_id, owner.username)
        return keys_pb2.RevokeKeyResponse()

    async def RevokeUserKey(
        self, request: keys_pb2.RevokeUserKeyRequest, context: Context
    ) -> keys_pb2.RevokeUserKeyResponse:
        async with self._database.begin() as connection:
            holder, owner = await self._changed(connection, request.user_id, "revoke keys of")
            await self._revoke(connection, owner, request.key_id, holder.name)
        return keys_pb2.RevokeUserKeyResponse()

    async def RotateKey(self, request: keys_pb2.RotateKeyRequest, context: Context) -> keys_pb2.RotateKeyResponse:
        check_overlap(request.overlap_s)
        async with self._database.begin() as connection:
            owner = await self._owner(connection)
            rotated = await self._rotated(connection, owner, request.key_id, request.overlap_s, owner.username)
        return keys_pb2.RotateKeyResponse(api_key=rotated)

    async def RotateUserKey(
        self, request: keys_pb2.RotateUserKeyRequest, context: Context
    ) -> keys_pb2.RotateUserKeyResponse:
        check_overlap(request.overlap_s)
        async with self._database.begin() as connection:
            holder, owner = await self._account(connection, request.user_id, "rotate keys of")
            rotated = await self._rotated(connection, owner, request.key_id, request.overlap_s, holder.name)
        return keys_pb2.RotateUserKeyResponse(api_key=rotated)

    async def _owner(self, connection: AsyncConnection) -> StoredUser:
        """Lock users, and return the caller, who may make own keys.

        Raises:
            PermissionDeniedError: something is pending.
        """
        await store.lock_users(connection)
        owner = await self._self(connection, Permission.SELF_WRITE)
        self._check_nothing_pending(owner, "make keys")
        return owner

    async def _account(self, connection: AsyncConnection, user_id: str, action: str) -> tuple[Grantor, StoredUser]:
        """Return the caller and a service account whose keys the caller may make.

        Raises:
            ConflictError: the user is a person.
            PermissionDeniedError: the caller uses a key of this service account.
        """
        holder, owner = await self._changed(connection, user_id, action)
        if not owner.service_account:
            raise ConflictError(
                f"{owner.username!r} is a person, and a person's keys are made by that person",
                hint="make a service account: countline service-accounts add NAME",
            )
        return holder, owner

    async def _created(
        self, connection: AsyncConnection, holder: Grantor, owner: StoredUser, wanted: keys_pb2.ApiKey
    ) -> keys_pb2.ApiKey:
        check_name(wanted.name)
        given = to_datetime(from_timestamp(wanted.expires_at)) if wanted.HasField("expires_at") else None
        until = expiry(given, self._now())
        limited = bool(wanted.roles or wanted.grants)
        grants = (
            await self._granted(connection, wanted.roles, wanted.grants, service_account=owner.service_account)
            if limited
            else ()
        )
        text = new_key()
        parts = read_key(text)
        key = StoredKey(
            parts.key_id, owner.user_id, wanted.name, parts.secret_hash, self._now(), until, limited, grants
        )
        owning = Grantor(owner.user_id, owner.username, owner.usable)
        for each in (holder, owning):
            check_may_give(each, domain.held_of(grants), f"create key {key.name!r} with these roles")
        await self._store(connection, key, owner, holder.name, "created")
        return key_message(key, text)

    async def _rotated(
        self, connection: AsyncConnection, owner: StoredUser, key_id: str, overlap_s: int, actor: str
    ) -> keys_pb2.ApiKey:
        old = await self._working(connection, owner, key_id)
        text, now = new_key(), self._now()
        parts = read_key(text)
        key = replace(
            old,
            key_id=parts.key_id,
            secret_hash=parts.secret_hash,
            created_at=now,
            expires_at=now + (old.expires_at - old.created_at),
            last_used_at=None,
        )
        if overlap_s:
            await key_store.expire_key(connection, old.key_id, now + timedelta(seconds=overlap_s))
            # Services keep tokens of the old key that last longer: an outdated one makes them ask again.
            revisions = await store.end_access(connection, [owner.user_id])
            await self._end_access(connection, owner.user_id, access_revision=revisions[owner.user_id])
        else:
            await self._end_key(connection, old)
        await self._store(connection, key, owner, actor, "rotated")
        return key_message(key, text)

    async def _store(
        self, connection: AsyncConnection, key: StoredKey, owner: StoredUser, actor: str, event: str
    ) -> None:
        await key_store.forget_keys(connection, self._now())
        working = [each for each in await key_store.keys_of(connection, owner.user_id) if each.works(self._now())]
        if len(working) >= MOST_KEYS:
            raise ResourceExhaustedError(
                f"{owner.username!r} has {MOST_KEYS} keys", hint="revoke keys that are not used: countline keys list"
            )
        await key_store.insert_key(connection, key)
        await self._record_key(connection, event, key, owner, actor)

    async def _revoke(self, connection: AsyncConnection, owner: StoredUser, key_id: str, actor: str) -> None:
        key = await self._working(connection, owner, key_id)
        await self._end_key(connection, key)
        await self._record_key(connection, "revoked", key, owner, actor)

    async def _end_key(self, connection: AsyncConnection, key: StoredKey) -> None:
        await key_store.end_key(connection, key.key_id, self._now())
        await self._end_access(connection, key.user_id, session_ids=[key.key_id])

    async def _working(self, connection: AsyncConnection, owner: StoredUser, key_id: str) -> StoredKey:
        key = await key_store.get_key(connection, key_id)
        if key is None or key.user_id != owner.user_id or not key.works(self._now()):
            raise NotFoundError(
                f"{owner.username!r} has no working key {key_id[:80]!r}", hint="list the keys: countline keys list"
            )
        return key

    async def _record_key(
        self, connection: AsyncConnection, event: str, key: StoredKey, owner: StoredUser, actor: str
    ) -> None:
        """Add a change of a key to the outbox and to the audit; neither holds the secret."""
        message = key_message(key)
        await self.outbox.add(connection, "key", event, actor, message)
        old, new = (message, None) if event == "revoked" else (None, message)
        await self.outbox.record(connection, f"{place_of(owner)}/keys/{key.key_id}", before=old, after=new)


def _refused(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"the API key {why}", hint="make a new key: countline keys create")
