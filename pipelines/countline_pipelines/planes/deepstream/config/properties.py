"""The properties that this plane sets on each element; pure, and checked against the facts."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from countline_pipelines.planes.deepstream.config import facts
from countline_pipelines.planes.deepstream.config.facts import Release, Value
from countline_pipelines.planes.deepstream.config.tracker import TrackerKind
from countline_pipelines.sources import Playback, RtspTransport, SourceSpec

INFER_ID: Final = 1
"""`unique-id` of the detector; its objects and tensors carry it."""
RECONNECT_AFTER_S: Final = 5
"""After this long without data, nvurisrcbin reconnects by itself ..."""
RECONNECT_ATTEMPTS: Final = 3
"""... this often. Then it gives up, and the plane opens the source again."""
JITTER_MS: Final = 200
UDP_BUFFER_BYTES: Final = 4 * 1024 * 1024
EXTRA_SURFACES: Final = 3
"""Decoded frames that the tracker and a preview may hold while the decoder continues."""
QUEUE_BATCHES: Final = 4
RTP_MULTI: Final = 0
RTP_UDP: Final = 1
RTP_TCP: Final = 4


class BoxPath(StrEnum):
    """How a model's output becomes objects."""

    PARSER = "parser"
    """In the C++ function in `parser/`, inside nvinferserver."""
    PYTHON = "python"
    """In a probe after nvinferserver: nothing to build, but the interpreter handles every box twice."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How pipelines are built; the same for all pipelines of a process."""

    release: Release
    boxes: BoxPath = BoxPath.PARSER
    capacity: int = 16
    """Cameras that one pipeline can hold: the size of its batches, which cannot change while it plays."""
    gpu: int = 0
    """CUDA's number of the GPU, from 0."""
    tracker: TrackerKind = TrackerKind.NVDCF
    tracker_wh: tuple[int, int] = (960, 544)
    """Working size of the tracker, pixels; multiples of 32."""
    frame_rate: float = 30.0
    """Of the fastest camera, frames a second."""
    root: Path = Path(facts.PLUGIN_PACKAGE)
    """Folder of the DeepStream installation."""
    parser: Path | None = None
    """The library with the C++ function; None for the one in the package's folder."""
    share_cuda_buffers: bool = False
    """Send frames to Triton in CUDA memory; for a Triton on the same x86 machine and GPU."""

    @property
    def parser_library(self) -> Path:
        """The library with the C++ function."""
        return self.parser or Path(__file__).resolve().parents[1] / "parser" / "libcountline_parser.so"


def mux_properties(options: PipelineOptions, config: Path) -> dict[str, Value]:
    """Properties of nvstreammux.

    `attach-sys-ts` is off, so that `ntp_timestamp` is the clock of a camera that sends one; our clock is read when a
    frame leaves its source. The end of the last source does not end the pipeline. Late frames are kept.

    Args:
        options: of the pipeline.
        config: the file that the muxer reads, see `mux_config`.
    """
    values: dict[str, Value] = {
        "batch-size": options.capacity,
        "attach-sys-ts": False,
        "sync-inputs": False,
        "drop-pipeline-eos": True,
        "config-file-path": str(config),
    }
    return facts.checked("nvstreammux", values, options.release)


def mux_config(options: PipelineOptions) -> str:
    """The file of nvstreammux: a batch leaves at least once in the period of a frame, even if cameras are silent.

    `adaptive-batching` follows the number of linked sources. A batch has at most one frame of each source.
    """
    rate = max(1, round(options.frame_rate))
    return "\n".join(
        (
            "[property]",
            "algorithm-type=1",
            f"batch-size={options.capacity}",
            "adaptive-batching=1",
            "max-fps-control=0",
            f"overall-min-fps-n={rate}",
            "overall-min-fps-d=1",
            f"overall-max-fps-n={rate * 4}",
            "overall-max-fps-d=1",
            "max-same-source-frames=1",
            "",
        )
    )


def source_properties(options: PipelineOptions, spec: SourceSpec, index: int) -> dict[str, Value]:
    """Properties of nvurisrcbin, for the source on the muxer's pad `index`."""
    values: dict[str, Value] = {
        "uri": uri_of(spec),
        "gpu-id": options.gpu,
        "disable-audio": True,
        "source-id": index,
        "num-extra-surfaces": EXTRA_SURFACES,
    }
    if spec.is_rtsp:
        values |= {
            "select-rtp-protocol": _rtp_protocol(options.release, spec.transport),
            "latency": JITTER_MS,
            "drop-on-latency": True,
            "udp-buffer-size": UDP_BUFFER_BYTES,
            "rtsp-reconnect-interval": RECONNECT_AFTER_S,
            "rtsp-reconnect-attempts": RECONNECT_ATTEMPTS,
        }
    if spec.playback is Playback.LOOP:
        values["file-loop"] = True
    return facts.checked("nvurisrcbin", values, options.release)


def _rtp_protocol(release: Release, transport: RtspTransport) -> int:
    """7.1 has no value for UDP alone; its value for both starts with UDP and falls back to TCP."""
    if transport is RtspTransport.TCP:
        return RTP_TCP
    return RTP_MULTI if release is Release.V7_1 else RTP_UDP


def uri_of(spec: SourceSpec) -> str:
    """The address of a source as a URI."""
    return spec.url if spec.is_network else Path(spec.url).absolute().as_uri()


def convert_properties(options: PipelineOptions) -> dict[str, Value]:
    """Properties of the nvvideoconvert of a source; it turns and scales pictures that a player turns or scales."""
    return facts.checked("nvvideoconvert", {"gpu-id": options.gpu}, options.release)


def queue_properties(options: PipelineOptions) -> dict[str, Value]:
    """Properties of the queue that gives inference a thread of its own: bounded by batches alone, waits when full."""
    values: dict[str, Value] = {"max-size-buffers": QUEUE_BATCHES, "max-size-bytes": 0, "max-size-time": 0}
    return facts.checked("queue", values, options.release)


def infer_properties(options: PipelineOptions, config: Path) -> dict[str, Value]:
    """Properties of nvinferserver; everything else is in its file."""
    values: dict[str, Value] = {"config-file-path": str(config), "unique-id": INFER_ID}
    return facts.checked("nvinferserver", values, options.release)


def tracker_properties(options: PipelineOptions, config: Path) -> dict[str, Value]:
    """Properties of nvtracker. Ids continue when a source reconnects; the run decides when they start again.

    Raises:
        PropertyError: the working size is no multiple of 32.
    """
    width, height = options.tracker_wh
    if width % 32 or height % 32:
        raise facts.PropertyError("nvtracker", "tracker-width", f"expects multiples of 32, got {width}x{height}")
    values: dict[str, Value] = {
        "tracker-width": width,
        "tracker-height": height,
        "gpu-id": options.gpu,
        "ll-lib-file": str(options.root / facts.TRACKER_LIBRARY),
        "ll-config-file": str(config),
        "display-tracking-id": False,
        "tracking-id-reset-mode": 0,
    }
    return facts.checked("nvtracker", values, options.release)


def sink_properties(options: PipelineOptions) -> dict[str, Value]:
    """Properties of a sink that accepts every buffer, holds none, and lets a pipeline without a source play."""
    values: dict[str, Value] = {"sync": False, "async": False, "qos": False, "enable-last-sample": False}
    return facts.checked("fakesink", values, options.release)
