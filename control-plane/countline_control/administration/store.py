"""SQL of settings and maintenance."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from countline_common.administration.current import AdministrationState, MaintenanceState
from countline_control.auth.tables import settings

MAINTENANCE: Final = "maintenance"


@dataclass(frozen=True, slots=True)
class StoredSetting:
    """A setting that was changed."""

    value: str
    changed_by: str
    changed_at: datetime


async def read_all(connection: AsyncConnection) -> dict[str, StoredSetting]:
    """Return what was set, by name; maintenance among it while it is on."""
    rows = await connection.execute(select(settings))
    return {row.name: StoredSetting(row.value, row.changed_by, row.changed_at) for row in rows}


async def write(connection: AsyncConnection, name: str, setting: StoredSetting) -> None:
    """Store a value in place of an earlier one."""
    values = {"value": setting.value, "changed_by": setting.changed_by, "changed_at": setting.changed_at}
    statement = insert(settings).values(name=name, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=[settings.c.name], set_=values))


async def remove(connection: AsyncConnection, name: str) -> None:
    """Delete a value; nothing happens if there is none."""
    await connection.execute(delete(settings).where(settings.c.name == name))


def state_of(stored: dict[str, StoredSetting]) -> AdministrationState:
    """Return what was set in the form that all parts follow."""
    values = {name: setting.value for name, setting in stored.items() if name != MAINTENANCE}
    if (found := stored.get(MAINTENANCE)) is None:
        return AdministrationState(values)
    return AdministrationState(
        values, MaintenanceState(True, found.value, found.changed_by, found.changed_at.timestamp())
    )
