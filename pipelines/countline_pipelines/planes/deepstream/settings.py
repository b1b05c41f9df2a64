"""What the environment tells the DeepStream backend of a worker."""

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
from countline_pipelines.planes.deepstream.plane import MOST_LIVE, WARN_LIVE


class DeepStreamSettings(ProcessSettings):
    """See each field; `COUNTLINE_DEEPSTREAM_` and the name in capitals is the variable."""

    model_config = SettingsConfigDict(env_prefix="COUNTLINE_DEEPSTREAM_")

    root: Path = Path(facts.PLUGIN_PACKAGE)
    """Where DeepStream is installed."""
    release: Release | None = None
    """As its version file says where it is not given."""
    boxes: BoxPath = BoxPath.PARSER
    """`parser` (C++) or `python`."""
    parser: Path | None = None
    """Our C++ library; that beside its source where it is not given."""
    tracker: TrackerKind = TrackerKind.NVDCF
    """`nvdcf`, `nvsort` or `iou`."""
    gpu: int = 0
    frame_rate: float = 30.0
    """Of the fastest camera."""
    share_cuda: bool = False
    """Frames reach Triton by CUDA memory; on the same x86 machine only."""
    warn_live: int = WARN_LIVE
    """RTSP cameras from which on a worker says what an outage of all would cost."""
    most_live: int = MOST_LIVE
    """RTSP cameras that a worker takes."""

    def checked(self, triton: str) -> Self:
        """These settings, if they can be used.

        Args:
            triton: its address.

        Raises:
            InvalidInputError: they cannot.
        """
        if not 1.0 <= self.frame_rate <= 240.0:
            raise InvalidInputError(f"a frame rate of {self.frame_rate:g} cannot be", hint="1 to 240")
        problem = inference.sharing_problem(triton, checks.machine()) if self.share_cuda else ""
        if problem:
            raise InvalidInputError(
                f"CUDA memory cannot be shared: {problem}", hint="unset COUNTLINE_DEEPSTREAM_SHARE_CUDA"
            )
        return self

    def pipeline_options(self, capacity: int) -> PipelineOptions:
        """How pipelines are made; the release is that of our image where nothing says which, and checks say so.

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
