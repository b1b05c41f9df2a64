"""Options of a DeepStream plane.

DeepStream resets one source of a process every `RESET_THROTTLE_S`. After an outage of a switch with a hundred cameras,
the last one reconnects after five minutes. So a process takes `most_live` RTSP cameras and no more, and warns from
`warn_live` on; more cameras need more workers on the same GPU.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from countline_pipelines.planes.deepstream.config.properties import PipelineOptions

WARN_LIVE: Final = 20
MOST_LIVE: Final = 100
MOST_INDICES: Final = 4096
"""Openings of sources in the life of one pipeline. The muxer states no bound, but what elements keep for each pad index
is never freed."""


@dataclass(frozen=True, slots=True)
class DeepStreamOptions:
    """How a plane runs."""

    pipeline: PipelineOptions
    triton: str
    """host:port of Triton's gRPC service, as nvinferserver reaches it."""
    folder: Path
    """Parent of the folders with the files of pipelines."""
    warn_live: int = WARN_LIVE
    """RTSP cameras from which on the plane warns."""
    most_live: int = MOST_LIVE
    """RTSP cameras that the plane takes."""
    most_indices: int = MOST_INDICES
