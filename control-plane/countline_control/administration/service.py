"""The gRPC service of settings and maintenance."""
# ruff: noqa: N802, ARG002  (names and arguments of the methods are gRPC's)

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from countline.v1 import administration_pb2, administration_pb2_grpc
from countline_common.access.vocabulary import Permission
from countline_common.administration.vocabulary import SETTINGS, SettingKind, kind_of
from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.grpc.calls import Context
from countline_common.grpc.server import Service
from countline_common.grpc.tokens import TokenSigner
from countline_common.times import to_timestamp
from countline_control.administration import store
from countline_control.administration.store import MAINTENANCE, StoredSetting
from countline_control.auth.access.store import roles_by_name
from countline_control.auth.base import AuthBase
from countline_control.database import Database

NAME: Final = "countline.v1.AdministrationService"
LONGEST_REASON: Final = 200

Stored = Mapping[str, StoredSetting]


class AdministrationService(AuthBase, administration_pb2_grpc.AdministrationServiceServicer):
    """Answers `countline.v1.AdministrationService`.

    Args:
        database: holds the schema `auth`.
        signer: of auth.
        bases: returns the values that the environments of the parts set.
        changed: called after each change.
    """

    def __init__(
        self,
        database: Database,
        signer: TokenSigner,
        bases: Callable[[], Awaitable[Mapping[str, str]]],
        changed: Callable[[], None],
    ) -> None:
        super().__init__(database, signer)
        self._bases = bases
        self._changed = changed

    def as_service(self) -> Service:
        """Describe this service to a gRPC server."""
        return Service(
            NAME,
            lambda server: administration_pb2_grpc.add_AdministrationServiceServicer_to_server(self, server),
            self._database.check,
            trail=self.trail,
        )

    async def ListSettings(
        self, request: administration_pb2.ListSettingsRequest, context: Context
    ) -> administration_pb2.ListSettingsResponse:
        stored, bases = await self._database.read(store.read_all), await self._bases()
        found = [setting_message(SETTINGS[name], stored, bases) for name in sorted(SETTINGS)]
        return administration_pb2.ListSettingsResponse(settings=found)

    async def GetSetting(
        self, request: administration_pb2.GetSettingRequest, context: Context
    ) -> administration_pb2.GetSettingResponse:
        stored = await self._database.read(store.read_all)
        setting = setting_message(kind_of(request.name), stored, await self._bases())
        return administration_pb2.GetSettingResponse(setting=setting)

    async def SetSetting(
        self, request: administration_pb2.SetSettingRequest, context: Context
    ) -> administration_pb2.SetSettingResponse:
        kind = kind_of(request.name)
        value = kind.parse(request.value)
        if kind.roles:
            await self._check_roles(kind, value)
        setting = await self._replace(kind, value)
        return administration_pb2.SetSettingResponse(setting=setting)

    async def ResetSetting(
        self, request: administration_pb2.ResetSettingRequest, context: Context
    ) -> administration_pb2.ResetSettingResponse:
        return administration_pb2.ResetSettingResponse(setting=await self._replace(kind_of(request.name), None))

    async def GetMaintenance(
        self, request: administration_pb2.GetMaintenanceRequest, context: Context
    ) -> administration_pb2.GetMaintenanceResponse:
        stored = await self._database.read(store.read_all)
        return administration_pb2.GetMaintenanceResponse(maintenance=maintenance_message(stored))

    async def SetMaintenance(
        self, request: administration_pb2.SetMaintenanceRequest, context: Context
    ) -> administration_pb2.SetMaintenanceResponse:
        reason = _reason(request)
        async with self._database.begin() as connection:
            before, after = await self._write(connection, MAINTENANCE, reason, "switch maintenance")
            message = maintenance_message(after)
            await self.outbox.record(connection, "admin/maintenance", before=maintenance_message(before), after=message)
        self._changed()
        return administration_pb2.SetMaintenanceResponse(maintenance=message)

    async def _check_roles(self, kind: SettingKind, value: str) -> None:
        known = await self._database.read(roles_by_name)
        if unknown := [name for name in value.split(",") if name and name not in known]:
            raise InvalidInputError(
                f"{kind.name} names roles that do not exist: {', '.join(unknown)}", hint="see: countline roles list"
            )

    async def _replace(self, kind: SettingKind, value: str | None) -> administration_pb2.Setting:
        """Store a value of a setting, or with None the absence of one; return the setting."""
        bases = await self._bases()
        async with self._database.begin() as connection:
            before, after = await self._write(connection, kind.name, value, "change settings")
            message = setting_message(kind, after, bases)
            before_message = setting_message(kind, before, bases)
            await self.outbox.record(connection, f"settings/{kind.name}", before=before_message, after=message)
        self._changed()
        return message

    async def _write(
        self, connection: AsyncConnection, name: str, value: str | None, action: str
    ) -> tuple[Stored, Stored]:
        """Store or delete a value; return everything that was set before and after."""
        holder = await self._holder(connection, Permission.SYSTEM_ADMIN, action)
        before = await store.read_all(connection)
        if value is None:
            await store.remove(connection, name)
        else:
            await store.write(connection, name, StoredSetting(value, holder.name, self._now()))
        return before, await store.read_all(connection)


def setting_message(kind: SettingKind, stored: Stored, bases: Mapping[str, str]) -> administration_pb2.Setting:
    """Describe a setting."""
    message = administration_pb2.Setting(
        name=kind.name,
        type=kind.type,
        default=kind.default,
        value=kind.default,
        source=administration_pb2.SETTING_SOURCE_DEFAULT,
        effect=kind.effect,
        description=kind.description,
        choices=kind.choices,
        minimum=kind.minimum,
        maximum=kind.maximum,
        zero_accepted=kind.zero_accepted,
    )
    if kind.name in bases:
        message.value, message.source = bases[kind.name], administration_pb2.SETTING_SOURCE_ENVIRONMENT
    if (found := stored.get(kind.name)) is not None:
        message.value, message.source = found.value, administration_pb2.SETTING_SOURCE_RUN_TIME
        message.changed_by = found.changed_by
        message.changed_at.CopyFrom(to_timestamp(found.changed_at.timestamp()))
    return message


def maintenance_message(stored: Stored) -> administration_pb2.Maintenance:
    """Describe whether the system is in maintenance."""
    if (found := stored.get(MAINTENANCE)) is None:
        return administration_pb2.Maintenance()
    at = to_timestamp(found.changed_at.timestamp())
    return administration_pb2.Maintenance(on=True, reason=found.value, changed_by=found.changed_by, changed_at=at)


def _reason(request: administration_pb2.SetMaintenanceRequest) -> str | None:
    """Return the reason for maintenance; None to end it."""
    reason = request.reason.strip()
    if not request.on:
        return None
    if not reason or len(reason) > LONGEST_REASON:
        problem = FieldProblem("reason", f"must have 1 to {LONGEST_REASON} characters")
        raise InvalidInputError("maintenance needs a reason, which callers see", fields=(problem,))
    return reason
