"""Direct calls between the services of one process."""

from collections.abc import Sequence

from countline_common.errors import CountlineError, UnavailableError
from countline_control.auth.access.places import Places
from countline_control.cameras import store
from countline_control.cameras.domain import CameraObservation
from countline_control.cameras.service import CameraService
from countline_control.cameras.shown import ObservationSource
from countline_control.database import Database, translate
from countline_control.models.domain import ModelRouting
from countline_control.models.usage import ModelUsage
from countline_control.serve.remote import HolderStatuses
from countline_control.workers.domain import AssignableCamera
from countline_control.workers.inputs import CameraInventory
from countline_control.workers.messages import assignable
from countline_control.workers.schedule import Schedule


class LocalCameras:
    """Lists the cameras of the service in this process."""

    poll_period_s = 5.0
    """Changes are announced at once. Polling finds those that another process makes in the same database."""

    def __init__(self, service: CameraService) -> None:
        self._service = service

    async def cameras(self) -> list[AssignableCamera]:
        """Return all cameras.

        Raises:
            UnavailableError: the database of cameras does not answer.
        """
        try:
            rows = await self._service.assignable()
        except CountlineError:
            raise
        except Exception as error:
            raise (translate(error) or error) from error
        return [assignable(camera, time_zone) for camera, time_zone in rows]


class LocalPlaces:
    """Reads which sites and cameras exist from the database of cameras, which is opened after auth starts."""

    def __init__(self) -> None:
        self.database: Database | None = None

    async def places(self) -> Places:
        """Return all sites and cameras.

        Raises:
            UnavailableError: the database of cameras does not answer, or is not open yet.
        """
        if self.database is None:
            raise UnavailableError("the service of cameras is starting", hint="try again in a second")
        return Places(*await self.database.read(store.all_ids))


class LocalRouting:
    """Reads the routing of the service of models in this process."""

    poll_period_s = 5.0

    def __init__(self, usage: ModelUsage) -> None:
        self._usage = usage

    async def routing(self) -> ModelRouting:
        """Return the routing, which decides which version counts a camera.

        Raises:
            UnavailableError: the database of models does not answer.
        """
        try:
            return await self._usage.routing()
        except CountlineError:
            raise
        except Exception as error:
            raise (translate(error) or error) from error


class LocalObservations:
    """Reads the observations of the service of workers in this process, which starts after the services that ask."""

    def __init__(self) -> None:
        self.schedule: Schedule | None = None
        self.elsewhere: HolderStatuses | None = None
        """Asks the copy that schedules while this one does not."""

    async def observations(self, camera_ids: Sequence[str] | None) -> dict[str, CameraObservation]:
        """Return the observations that are known; None asks for those of all cameras.

        Raises:
            CountlineError: another copy schedules and does not answer.
        """
        if self.elsewhere is not None and self.elsewhere.applies:
            return await self.elsewhere.observations(camera_ids)
        return await self.schedule.observations(camera_ids) if self.schedule is not None else {}


class NamedModels:
    """Lists the model that each camera names, and camera observations, for the service of models.

    Both sources are local or remote.

    Args:
        cameras: lists the cameras.
        observations: reads their observations.
    """

    def __init__(self, cameras: CameraInventory, observations: ObservationSource) -> None:
        self._cameras = cameras
        self._observations = observations

    async def named(self) -> dict[str, str]:
        """Return camera → the model that its spec names.

        Raises:
            CountlineError: the service of cameras does not answer.
        """
        return {item.camera.camera_id: item.camera.spec.model for item in await self._cameras.cameras()}

    async def observations(self, camera_ids: Sequence[str]) -> dict[str, CameraObservation]:
        """Return the observations of cameras.

        Raises:
            CountlineError: the service of workers does not answer.
        """
        return dict(await self._observations.observations(camera_ids)) if camera_ids else {}
