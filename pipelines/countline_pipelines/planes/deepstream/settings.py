"""Settings of the DeepStream backend of a worker, from the environment."""

import platform
from pathlib import Path
from typing import Self

from pydantic_settings import SettingsConfigDict

from countline_common.errors import InvalidInputError
from countline_common.settings import ProcessSettings
from countline_pipelines.planes.deepstream import checks
from countline_pipelines.planes.deepstream.config import facts, inference
from countline_pipelines.planes.deepstream.config.facts import Release
from countline_pipelines.planes.deepstream.config.properties import BoxPath, PipelineOptions
from countline_pipelines.planes.deepstream.config.tracker import TrackerKind
from countline_pipelines.planes.deepstream.options import MOST_LIVE, WARN_LIVE


class DeepStreamSettings(ProcessSettings):
    """Each field is the variable `COUNTLINE_DEEPSTREAM_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="COUNTLINE_DEEPSTREAM_")

    root: Path = Path(facts.PLUGIN_PACKAGE)
    """Folder of the DeepStream installation."""
    release: Release | None = None
    """Release of DeepStream; by default the one that the version file in `root` names."""
    boxes: BoxPath = BoxPath.PARSER
    """`parser` (C++) or `python`."""
    parser: Path | None = None
    """Our C++ library; by default the one beside its source."""
    tracker: TrackerKind = TrackerKind.NVDCF
    """`nvdcf`, `nvsort` or `iou`."""
    gpu: int = 0
    """CUDA's number of the GPU, from 0."""
    frame_rate: float = 30.0
    """Of the fastest camera, frames a second."""
    share_cuda: bool = False
    """Send frames to Triton in CUDA memory; for a Triton on the same x86 machine and GPU."""
    warn_live: int = WARN_LIVE
    """RTSP cameras from which on the worker warns how long reconnecting takes after an outage."""
    most_live: int = MOST_LIVE
    """RTSP cameras that a worker takes."""

    def checked(self, triton: str) -> Self:
        """These settings, if they are usable.

        Args:
            triton: host:port of Triton.

        Raises:
            InvalidInputError: a setting is not usable.
        """
        if not 1.0 <= self.frame_rate <= 240.0:
            raise InvalidInputError(
                f"COUNTLINE_DEEPSTREAM_FRAME_RATE={self.frame_rate:g} is no frame rate", hint="set it to 1 to 240"
            )
        problem = inference.sharing_problem(triton, platform.machine()) if self.share_cuda else ""
        if problem:
            raise InvalidInputError(
                f"CUDA memory cannot be shared with Triton: {problem}", hint="unset COUNTLINE_DEEPSTREAM_SHARE_CUDA"
            )
        return self

    def pipeline_options(self, capacity: int) -> PipelineOptions:
        """Options of all pipelines.

        If neither the setting nor the version file names a release, it is that of our image; the checks report the
        missing version file.

        Args:
            capacity: cameras that the worker holds.
        """
        return PipelineOptions(
            release=self.release or checks.release_of(self.root) or Release.V8_0,
            boxes=self.boxes,
            capacity=capacity,
            gpu=self.gpu,
            tracker=self.tracker,
            frame_rate=self.frame_rate,
            root=self.root,
            parser=self.parser,
            share_cuda_buffers=self.share_cuda,
        )
