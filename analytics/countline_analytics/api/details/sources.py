"""Where the details of cameras come from: each kind is asked for once, for a whole page of cameras.

Each source asks on behalf of the caller, and only for what the caller may read.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import grpc.aio
from sqlalchemy.ext.asyncio import AsyncEngine

from countline.v1 import counts_pb2, models_pb2, models_pb2_grpc, workers_pb2, workers_pb2_grpc
from countline.v1.cameras_pb2 import Camera
from countline_analytics.api.details.messages import model_of, worker_of
from countline_analytics.directory import CameraDirectory, KnownCamera
from countline_analytics.questions.callers import Caller
from countline_analytics.questions.counts import CountQueries
from countline_common.access.vocabulary import Permission
from countline_common.grpc.errors import translated
from countline_common.grpc.paging import MAX_SIZE, every_page
from countline_common.http.request_ids import request_metadata

CALL_TIMEOUT_S: Final = 2.0
EVENTS: Final = 5
"""Crossings of each camera."""


class DetailSources:
    """Reads the details of a page of cameras and adds them.

    Args:
        engine: connects to the analytics database.
        directory: looks up lines and time zones.
        workers: a channel to the service of workers.
        models: a channel to the service of models.
    """

    def __init__(
        self, engine: AsyncEngine, directory: CameraDirectory, workers: grpc.aio.Channel, models: grpc.aio.Channel
    ) -> None:
        self._directory = directory
        self._counts = CountQueries(engine, directory)
        self._workers = workers_pb2_grpc.WorkerServiceStub(workers)
        self._models = models_pb2_grpc.ModelServiceStub(models)

    async def add_workers(self, cameras: Sequence[Camera], caller: Caller) -> None:
        """Add the worker of each camera, if the caller may read workers."""
        if not caller.principal.reach(Permission.WORKER_READ).everything:
            return
        metadata = _metadata(caller)
        with translated():
            found = await every_page(
                lambda token: self._workers.ListWorkers(
                    workers_pb2.ListWorkersRequest(page_size=MAX_SIZE, page_token=token),
                    metadata=metadata,
                    timeout=CALL_TIMEOUT_S,
                ),
                lambda answer: answer.workers,
            )
        workers = {worker.worker_id: worker for worker in found}
        for camera in cameras:
            if worker := worker_of(camera, workers):
                camera.details.worker.CopyFrom(worker)

    async def add_models(self, cameras: Sequence[Camera], caller: Caller) -> None:
        """Add the model of each camera, if the caller may read models."""
        if not caller.principal.reach(Permission.MODEL_READ).everything:
            return
        metadata = _metadata(caller)
        with translated():
            found = await every_page(
                lambda token: self._models.ListModels(
                    models_pb2.ListModelsRequest(page_size=MAX_SIZE, page_token=token),
                    metadata=metadata,
                    timeout=CALL_TIMEOUT_S,
                ),
                lambda answer: answer.models,
            )
        models = {model.name: model for model in found}
        for camera in cameras:
            if model := model_of(camera, models):
                camera.details.model.CopyFrom(model)

    async def add_counts(self, cameras: Sequence[Camera], caller: Caller) -> None:
        """Add the counts of the current day to the cameras whose counts the caller may read."""
        buckets: dict[str, list[counts_pb2.CountBucket]] = defaultdict(list)
        for bucket in await self._counts.today(await self._known(cameras, caller)):
            buckets[bucket.camera_id].append(bucket)
        for camera in cameras:
            camera.details.counts.extend(buckets[camera.camera_id])

    async def add_events(self, cameras: Sequence[Camera], caller: Caller) -> None:
        """Add the latest crossings to the cameras whose crossings the caller may read."""
        crossings: dict[str, list[counts_pb2.CameraCrossing]] = defaultdict(list)
        for crossing in await self._counts.latest_crossings(await self._known(cameras, caller), EVENTS):
            crossings[crossing.camera_id].append(crossing)
        for camera in cameras:
            camera.details.events.extend(crossings[camera.camera_id])

    async def _known(self, cameras: Sequence[Camera], caller: Caller) -> list[KnownCamera]:
        if not caller.reach:
            return []
        ids = [camera.camera_id for camera in cameras]
        known = await self._directory.cameras(caller, lambda found: all(each in found for each in ids))
        return [known[each] for each in ids if each in known]


def _metadata(caller: Caller) -> tuple[tuple[str, str], ...]:
    return (("authorization", caller.authorization), *request_metadata())
