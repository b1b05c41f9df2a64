"""What workers reported of trials: sums, by camera and line, and over time."""

import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_control.database import Database
from countline_control.models.domain import StoredTrial, TrialResult
from countline_control.models.trials import store

BUCKETS: Final = 100
BUCKET_WIDTHS_S: Final = (10, 60, 300, 900, 3600, 21_600, 86_400)


class TrialResults:
    """Reads what workers reported of trials.

    Args:
        database: holds the schema `models`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def full(self, trial: StoredTrial) -> TrialResult:
        """Return a trial with its sums, by camera and line, and over time."""

        async def read(connection: AsyncConnection) -> TrialResult:
            end = trial.ended_at if trial.ended_at is not None else time.time()
            width_s = bucket_width_s(end - trial.started_at)
            return TrialResult(
                trial,
                await store.tallies(connection, trial.trial_id),
                await store.spans(connection, trial.trial_id),
                await store.buckets(connection, trial.trial_id, width_s),
            )

        return await self._database.read(read)

    async def summaries(self, trials: Sequence[StoredTrial]) -> list[TrialResult]:
        """Return trials with their sums, without buckets."""

        async def read(connection: AsyncConnection) -> list[TrialResult]:
            return [
                TrialResult(
                    trial,
                    await store.tallies(connection, trial.trial_id),
                    await store.spans(connection, trial.trial_id),
                )
                for trial in trials
            ]

        return await self._database.read(read)


def bucket_width_s(duration_s: float) -> int:
    """Return the width of buckets that cuts a duration into at most about a hundred."""
    return next((width for width in BUCKET_WIDTHS_S if duration_s / width <= BUCKETS), BUCKET_WIDTHS_S[-1])
