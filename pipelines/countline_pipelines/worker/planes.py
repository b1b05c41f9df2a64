"""Builds the data plane that the settings name. The other plane is not imported."""

import os
from typing import Final, Protocol

from countline_common.grpc.channels import proxy_options
from countline_common.hosts import host_of
from countline_pipelines.planes.interface import OnEnd, Plane, PlaneSink
from countline_pipelines.triton import InferenceClient, Transport
from countline_pipelines.worker.settings import PlaneBackend, WorkerSettings

TRITON_TIMEOUT_S: Final = 10.0


class StartedPlane(Plane, Protocol):
    """A plane that has threads of its own."""

    def start(self) -> None:
        """Start the threads."""
        ...


def make_plane(settings: WorkerSettings, sink: PlaneSink, on_end: OnEnd) -> StartedPlane:
    """Build the plane without starting it.

    Args:
        settings: of the worker.
        sink: receives counted frames and events.
        on_end: called when a camera ends.

    Raises:
        DeepStreamMissingError: the settings name DeepStream, and a part of it is not installed.
        InvalidInputError: its settings cannot be used.
    """
    if settings.backend is PlaneBackend.DEEPSTREAM:
        return _deepstream(settings, sink, on_end)
    return _software(settings, sink, on_end)


async def _connect(settings: WorkerSettings, transport: Transport) -> InferenceClient:
    from countline_pipelines.triton.client import TritonClient

    return await TritonClient.connect(settings.triton_address, transport, timeout_s=TRITON_TIMEOUT_S)


def _software(settings: WorkerSettings, sink: PlaneSink, on_end: OnEnd) -> StartedPlane:
    from countline_pipelines.planes.software.lane.lane import LaneOptions
    from countline_pipelines.planes.software.plane import PlaneOptions, SoftwarePlane
    from countline_pipelines.sources import decoding_of

    lane = LaneOptions(
        max_batch=settings.max_batch,
        max_wait_s=settings.max_batch_wait_ms / 1000,
        in_flight=settings.in_flight,
    )
    options = PlaneOptions(lane=lane, decoding=decoding_of(settings.decode))
    return SoftwarePlane(lambda: _connect(settings, settings.triton_transport), sink, options, on_end)


def _deepstream(settings: WorkerSettings, sink: PlaneSink, on_end: OnEnd) -> StartedPlane:
    from countline_pipelines.planes.deepstream.checks import require_runtime
    from countline_pipelines.planes.deepstream.options import DeepStreamOptions
    from countline_pipelines.planes.deepstream.plane import DeepStreamPlane
    from countline_pipelines.planes.deepstream.settings import DeepStreamSettings

    if proxy_options(settings.triton_address):
        os.environ.setdefault("no_grpc_proxy", host_of(settings.triton_address))  # for nvinferserver's own connection
    own = DeepStreamSettings().checked(settings.triton_address)
    pipeline = own.pipeline_options(settings.capacity)
    options = DeepStreamOptions(
        pipeline=pipeline,
        triton=settings.triton_address,
        folder=settings.pipelines_folder,
        warn_live=own.warn_live,
        most_live=own.most_live,
    )
    # GStreamer sends the frames to Triton; this client only loads models.
    return DeepStreamPlane(require_runtime(pipeline), lambda: _connect(settings, Transport.GRPC), sink, options, on_end)
