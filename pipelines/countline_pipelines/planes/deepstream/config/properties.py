"""The properties that this plane sets, element by element; pure, and held against the facts."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from countline_pipelines.planes.deepstream.config import facts
from countline_pipelines.planes.deepstream.config.facts import Release, Value
from countline_pipelines.planes.deepstream.config.tracker import TrackerKind
from countline_pipelines.sources import Playback, RtspTransport, SourceSpec

INFER_ID: Final = 1
"""`unique-id` of the detector: objects and tensors say whose they are."""
RECONNECT_AFTER_S: Final = 5
"""Without data for so long, nvurisrcbin connects again by itself ..."""
RECONNECT_ATTEMPTS: Final = 3
"""... so often; then it gives up, and the plane makes the source anew."""
JITTER_MS: Final = 200
UDP_BUFFER_BYTES: Final = 4 * 1024 * 1024
EXTRA_SURFACES: Final = 3
"""Decoded pictures that the tracker and a preview may hold while the decoder goes on."""
QUEUE_BATCHES: Final = 4
RTP_MULTI: Final = 0
RTP_UDP: Final = 1
RTP_TCP: Final = 4


class BoxPath(StrEnum):
    """How a model's answer becomes objects."""

    PARSER = "parser"
    """By the C++ function in `parser/`, inside nvinferserver."""
    PYTHON = "python"
    """By a probe behind nvinferserver: nothing to build, but the interpreter sees every box twice."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How a pipeline is made; the same for every one of a process."""

    release: Release
    boxes: BoxPath = BoxPath.PARSER
    capacity: int = 16
    """Cameras that one pipeline can hold: the size of its batches, which cannot change once it plays."""
    gpu: int = 0
    tracker: TrackerKind = TrackerKind.NVDCF
    tracker_wh: tuple[int, int] = (960, 544)
    """Multiples of 32."""
    frame_rate: float = 30.0
    """Of the fastest camera, frames a second."""
    root: Path = Path(facts.PLUGIN_PACKAGE)
    """Where DeepStream is installed."""
    parser: Path | None = None
    """The library with the C++ function; that in the package's folder where it is not given."""
    share_cuda_buffers: bool = False
    """Frames reach Triton by CUDA memory: for a Triton on the same machine and GPU, x86 only."""

    @property
    def parser_library(self) -> Path:
        """The library with the C++ function."""
        return self.parser or Path(__file__).resolve().parents[1] / "parser" / "libcountline_parser.so"


def mux_properties(options: PipelineOptions, config: Path) -> dict[str, Value]:
    """Of nvstreammux.

    `attach-sys-ts` is off, so that `ntp_timestamp` is the camera's own clock where it sends one; our clock is read when
    a frame leaves its source. The last source to go does not end the pipeline. Late frames are kept.

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
    """The file of nvstreammux: a batch is sent at least once in a frame's period, however many cameras are silent.

    `adaptive-batching` follows the number of sources that are linked; one frame of each at most is in a batch.
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
    """Of nvurisrcbin, for the source on the muxer's pad `index`."""
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
    """7.1 has no word for UDP alone: it begins with UDP and goes over to TCP."""
    if transport is RtspTransport.TCP:
        return RTP_TCP
    return RTP_MULTI if release is Release.V7_1 else RTP_UDP


def uri_of(spec: SourceSpec) -> str:
    """A source's address as GStreamer wants it."""
    return spec.url if spec.is_network else Path(spec.url).absolute().as_uri()


def queue_properties(options: PipelineOptions) -> dict[str, Value]:
    """Of the queue that gives inference a thread of its own: bounded by batches, never by bytes or time; waits."""
    values: dict[str, Value] = {"max-size-buffers": QUEUE_BATCHES, "max-size-bytes": 0, "max-size-time": 0}
    return facts.checked("queue", values, options.release)


def infer_properties(options: PipelineOptions, config: Path) -> dict[str, Value]:
    """Of nvinferserver; all else is in its file."""
    values: dict[str, Value] = {"config-file-path": str(config), "unique-id": INFER_ID}
    return facts.checked("nvinferserver", values, options.release)


def tracker_properties(options: PipelineOptions, config: Path) -> dict[str, Value]:
    """Of nvtracker. Ids go on when a source connects again; a run decides when they begin anew.

    Raises:
        PropertyError: its working size is no multiple of 32.
    """
    width, height = options.tracker_wh
    if width % 32 or height % 32:
        raise facts.PropertyError(
            "nvtracker", "tracker-width", f"takes multiples of 32, and was given {width}x{height}"
        )
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
    """Of the sink: takes what comes, holds nothing, and lets a pipeline without a source play."""
    values: dict[str, Value] = {"sync": False, "async": False, "qos": False, "enable-last-sample": False}
    return facts.checked("fakesink", values, options.release)
