"""Which cameras use which versions: what they should use, and what workers report that they use."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from countline_control.cameras.domain import CameraObservation
from countline_control.database import Database
from countline_control.models import checks, routing, store
from countline_control.models.domain import ModelRouting
from countline_control.models.trials import store as trial_store


class CameraModels(Protocol):
    """Knows the model that each camera names, and its status; the services of cameras and workers implement it."""

    async def named(self) -> Mapping[str, str]:
        """Return camera → the model that its spec names. Raises `CountlineError` while it cannot answer."""
        ...

    async def observations(self, camera_ids: Sequence[str]) -> Mapping[str, CameraObservation]:
        """Return the observations of cameras. Raises `CountlineError` while it cannot answer."""
        ...


class ModelUsage:
    """Reads which cameras use which versions.

    Args:
        database: holds the schema `models`.
        cameras: knows the cameras.
        default_model: the model of cameras that name none.
    """

    def __init__(self, database: Database, cameras: CameraModels, default_model: str) -> None:
        self._database = database
        self._cameras = cameras
        self.default_model = default_model

    async def routing(self) -> ModelRouting:
        """Return what decides which version counts a camera."""

        async def read(connection: AsyncConnection) -> ModelRouting:
            live = await store.live_versions(connection)
            return ModelRouting(live, await trial_store.running_trials(connection), self.default_model)

        return await self._database.read(read)

    async def named(self) -> Mapping[str, str]:
        """Return camera → the model that its spec names.

        Raises:
            CountlineError: the service of cameras does not answer.
        """
        return await self._cameras.named()

    async def users(self, *, surely: bool = False) -> tuple[ModelRouting, dict[str, tuple[str, ...]]]:
        """Return the routing, and `NAME@VERSION` → the cameras that should use it or still do.

        Args:
            surely: refuse to answer while a worker has not reported yet which version it uses.

        Raises:
            CountlineError: this is not known; with `surely` also if a worker has not reported yet.
        """
        current, cameras = await self.routing(), await self.named()
        users, observations = routing.users_of(cameras, current), await self._cameras.observations(list(cameras))
        if surely:
            checks.check_reported(routing.unreported(cameras, observations))
        for camera_id, status in observations.items():
            for model in {status.model, status.follower_model} - {""}:
                users[model] = tuple(sorted({*users.get(model, ()), camera_id}))
        return current, users
