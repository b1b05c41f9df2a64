"""The gRPC services of auth: sessions, users, roles, keys, second factors and logins through an identity provider.

Its methods lie in `sessions`, `profiles`, `users`, `accounts`, `acting`, `access.methods`, `factor.service`,
`keys.service`, `registration.service` and `oidc.service`; this module joins them and sets them up.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import grpc

from countline.v1 import (
    act_pb2_grpc,
    auth_pb2_grpc,
    factor_pb2_grpc,
    keys_pb2_grpc,
    oidc_pb2_grpc,
    registration_pb2_grpc,
)
from countline_common.grpc.server import Service
from countline_control.auth import store
from countline_control.auth.access import store as access_store
from countline_control.auth.access.methods import RoleMethods
from countline_control.auth.access.roles import BUILT_IN, SUPER_ADMIN
from countline_control.auth.accounts import AccountMethods
from countline_control.auth.acting import ActingMethods
from countline_control.auth.domain import Grant
from countline_control.auth.factor.service import FactorMethods
from countline_control.auth.keys.service import KeyMethods
from countline_control.auth.oidc.service import OidcMethods
from countline_control.auth.profiles import ProfileMethods
from countline_control.auth.registration.service import RegistrationMethods

NAME: Final = "countline.v1.AuthService"
FIRST_USER: Final = "admin"


class AuthService(
    FactorMethods,
    OidcMethods,
    RegistrationMethods,
    ProfileMethods,
    AccountMethods,
    RoleMethods,
    KeyMethods,
    ActingMethods,
    auth_pb2_grpc.AuthServiceServicer,
    keys_pb2_grpc.KeyServiceServicer,
    factor_pb2_grpc.FactorServiceServicer,
    oidc_pb2_grpc.OidcServiceServicer,
    registration_pb2_grpc.RegistrationServiceServicer,
    act_pb2_grpc.ActingServiceServicer,
):
    """Answers the services of auth."""

    def as_services(self) -> tuple[Service, ...]:
        """Describe the services to a gRPC server."""
        registers: dict[str, Callable[[Any, grpc.aio.Server], None]] = {
            NAME: auth_pb2_grpc.add_AuthServiceServicer_to_server,
            "countline.v1.ActingService": act_pb2_grpc.add_ActingServiceServicer_to_server,
            "countline.v1.KeyService": keys_pb2_grpc.add_KeyServiceServicer_to_server,
            "countline.v1.FactorService": factor_pb2_grpc.add_FactorServiceServicer_to_server,
            "countline.v1.OidcService": oidc_pb2_grpc.add_OidcServiceServicer_to_server,
            "countline.v1.RegistrationService": registration_pb2_grpc.add_RegistrationServiceServicer_to_server,
        }
        return tuple(
            Service(name, partial(register, self), self._database.check, trail=self.trail)
            for name, register in registers.items()
        )

    async def prepare(self) -> None:
        """Store the permissions and the built-in roles of this version. Call it before the first request."""
        async with self._database.begin() as connection:
            await store.lock_users(connection)
            await access_store.write_vocabulary(connection)

    async def has_users(self) -> bool:
        """Whether there is a user who can log in."""
        return await self._database.read(store.has_users)

    async def create_first_admin(self, password: str) -> bool:
        """Create the user `admin` if there is no user yet; return whether it was created."""
        if await self.has_users():  # a hash costs a quarter of a second of processor time, at each start
            return False
        user = self._new_user(FIRST_USER, await self._passwords.hash(password))
        user = replace(user, grants=(Grant(SUPER_ADMIN, BUILT_IN[SUPER_ADMIN].permissions),))
        async with self._database.begin() as connection:
            await store.lock_users(connection)
            if await store.has_users(connection):
                return False
            await self._insert(connection, user, actor="system")
        return True
