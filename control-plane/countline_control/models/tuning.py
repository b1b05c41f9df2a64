"""Changes how Triton runs a model, or leaves everything as it was."""

import time
from collections.abc import Mapping
from dataclasses import replace

from countline_common.data.outbox import Outbox
from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.tasks import to_its_end
from countline_common.times import to_datetime
from countline_control.database import Database
from countline_control.models import checks, messages, store
from countline_control.models.domain import StoredModel
from countline_control.models.repository import Repository
from countline_models.deploy import Tuning

_log = get_logger(__name__)


class Tuner:
    """Tunes models.

    Args:
        database: holds the schema `models`.
        repository: Triton's repository, and the Triton that serves it.
        outbox: the outbox of the service.
    """

    def __init__(self, database: Database, repository: Repository, outbox: Outbox) -> None:
        self._database = database
        self._repository = repository
        self._outbox = outbox

    async def tune(self, name: str, values: Mapping[str, int], actor: str) -> None:
        """Change how Triton runs a model.

        Args:
            name: the model.
            values: see `checks.checked_tuning`.
            actor: who tunes it.

        Raises:
            CountlineError: the tuning is out of bounds, or Triton does not load it; Triton then runs as before.
        """
        tuning = checks.checked_tuning(values)
        async with self._repository.changing:
            before = await self._database.read(lambda connection: store.existing_model(connection, name))
            try:
                await self._repository.refresh(replace(before, tuning=tuning))
            except BaseException:
                await to_its_end(self._restore_tuning(before))
                raise
            await to_its_end(self._store_tuning(before, tuning, actor))

    async def _store_tuning(self, before: StoredModel, tuning: Tuning, actor: str) -> None:
        """Store a tuning that is loaded, or undo it. A client that disconnects in between changes nothing."""
        try:
            async with self._database.begin() as connection:
                await store.set_tuning(connection, before.name, tuning, to_datetime(time.time()))
                message = messages.event_message(await store.existing_model(connection, before.name))
                await self._outbox.add(connection, "model", "tuned", actor, message)
                old = messages.event_message(before)
                await self._outbox.record(connection, f"ai-models/{before.name}", before=old, after=message)
        except BaseException:
            await to_its_end(self._restore_tuning(before))
            raise

    async def _restore_tuning(self, before: StoredModel) -> None:
        """Restore the previous Triton configuration, even if the client disconnected.

        If Triton is away, it finds the previous configuration in the repository.
        """
        _log.warning("model.tuning_restored", model=before.name)
        try:
            await self._repository.refresh(before)
        except CountlineError as error:
            _log.error("model.tuning_restore_failed", model=before.name, error=error.message)
