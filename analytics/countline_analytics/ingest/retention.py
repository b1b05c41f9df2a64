"""How long rows are kept: settings that an administrator may change while ingest runs."""

import time
from datetime import timedelta
from typing import Final

from countline_analytics.instants import to_datetime
from countline_analytics.store.rollups import RETENTION_MARGIN, Rollups
from countline_common.administration.current import CurrentSettings

DAY_S: Final = 86_400.0
SETTING_OF: Final = {
    "crossings": "retention.crossings_days",
    "visits": "retention.crossings_days",
    "occupancy": "retention.occupancy_days",
    "trajectories": "retention.trajectories_days",
}
"""Table → the setting that says how long its rows are kept."""


def oldest_kept(current: CurrentSettings) -> float:
    """Return the time in Unix seconds before which ingest refuses crossings; minus infinity if all are kept."""
    days = current.number(SETTING_OF["crossings"])
    return time.time() - days * DAY_S if days else float("-inf")


async def delete_old(rollups: Rollups, current: CurrentSettings) -> None:
    """Delete the rows that are older than the settings of now."""
    now = to_datetime(round(time.time() * 1e6))
    for table, setting in SETTING_OF.items():
        if days := current.number(setting):
            await rollups.forget(table, now - timedelta(days=days) - RETENTION_MARGIN)
