"""The properties of DeepStream's elements that this plane uses. Each value is checked before it reaches GStreamer.

The table is needed for two reasons. nvstreammux is one of two elements of the same name, selected by an environment
variable, and a property of the one fails on the other. And properties differ between releases, while GStreamer only
warns about a value out of range and keeps the old one.

Sources: NVIDIA's published plugin sources and `gst-inspect-1.0` of 7.1; for 8.0, what 7.1 and 9.0 have in common.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from countline_common.errors import InvalidInputError

Value = int | str | bool
UINT: Final = 2**32 - 1
INT: Final = 2**31 - 1
UNTRACKED: Final = 2**64 - 1
"""`object_id` of an object without a track; a C macro that pyds does not export."""
PLUGIN_PACKAGE: Final = "/opt/nvidia/deepstream/deepstream"
TRACKER_LIBRARY: Final = "lib/libnvds_nvmultiobjecttracker.so"
NEW_MUX_VARIABLE: Final = "USE_NEW_NVSTREAMMUX"
NEW_MUX: Final = "yes"
"""The only value that selects the new muxer, which does not scale. Without it, `nvstreammux` is the legacy element,
which this plane does not use."""
RESET_THROTTLE_S: Final = 3.0
"""nvurisrcbin resets one source of a process in this many seconds, across all pipelines."""


class Release(StrEnum):
    """Releases that this plane supports: the last ones with wheels of pyds."""

    V7_1 = "7.1"
    V8_0 = "8.0"

    @property
    def image(self) -> str:
        """NVIDIA's container image. The one of 7.1 has Python 3.10 and bindings for it alone."""
        return f"nvcr.io/nvidia/deepstream:{self.value}-triton-multiarch"

    @property
    def driver(self) -> str:
        """The oldest driver that NVIDIA names for this release on data-centre GPUs."""
        return "535.183.06" if self is Release.V7_1 else "570.133.20"


@dataclass(frozen=True, slots=True)
class Property:
    """One property of an element.

    Args:
        kind: of its value.
        low, high: bounds of a number.
        choices: values of an enumeration; empty for other kinds.
    """

    kind: type
    low: int = 0
    high: int = UINT
    choices: tuple[int, ...] = ()


_FLAG: Final = Property(bool)
_TEXT: Final = Property(str)
_COUNT: Final = Property(int)
_BATCH: Final = Property(int, 0, 1024)

# `batched-push-timeout` appeared in an unknown release between 6.3 and 9.0: the configuration file bounds the wait.
_MUX: Final = {
    "batch-size": _BATCH,
    "attach-sys-ts": _FLAG,
    "sync-inputs": _FLAG,
    "drop-pipeline-eos": _FLAG,
    "num-surfaces-per-frame": Property(int, 0, 8),
    "frame-num-reset-on-eos": _FLAG,
    "frame-num-reset-on-stream-reset": _FLAG,
    "config-file-path": _TEXT,
}

_SOURCE: Final = {
    "uri": _TEXT,
    "gpu-id": _COUNT,
    "type": Property(int, choices=(0, 1, 2)),
    "disable-audio": _FLAG,
    "file-loop": _FLAG,
    "num-extra-surfaces": _COUNT,
    "rtsp-reconnect-interval": _COUNT,
    "rtsp-reconnect-attempts": Property(int, -INT - 1, INT),
    "latency": _COUNT,
    "source-id": Property(int, -1, INT),
    "udp-buffer-size": _COUNT,
    "drop-on-latency": _FLAG,
    "cudadec-memtype": Property(int, choices=(0, 1, 2)),
}

ELEMENTS: Final[Mapping[str, Mapping[str, Property]]] = {
    "nvurisrcbin": _SOURCE,
    "nvstreammux": _MUX,
    "nvinferserver": {
        "config-file-path": _TEXT,
        "unique-id": _COUNT,
        "batch-size": _BATCH,
        "process-mode": Property(int, 0, 2),
        "interval": Property(int, 0, INT),
    },
    "nvtracker": {
        "tracker-width": _COUNT,
        "tracker-height": _COUNT,
        "gpu-id": _COUNT,
        "ll-lib-file": _TEXT,
        "ll-config-file": _TEXT,
        "display-tracking-id": _FLAG,
        "tracking-id-reset-mode": Property(int, 0, 3),
    },
    "nvvideoconvert": {
        "gpu-id": _COUNT,
        "nvbuf-memory-type": Property(int, choices=(0, 1, 2, 3, 4)),
        "flip-method": Property(int, 0, 7),
    },
    "queue": {
        "max-size-buffers": _COUNT,
        "max-size-bytes": _COUNT,
        "max-size-time": Property(int, 0, 2**63 - 1),
        "leaky": Property(int, choices=(0, 1, 2)),
    },
    "fakesink": {"sync": _FLAG, "async": _FLAG, "qos": _FLAG, "enable-last-sample": _FLAG},
}

_RTP_PROTOCOLS: Final = {Release.V7_1: (0, 4), Release.V8_0: (0, 1, 2, 4, 7, 10, 20)}


class PropertyError(InvalidInputError):
    """An element of this release has no such property, or does not accept the value.

    Args:
        element: name of the factory.
        name: of the property.
        problem: what is wrong with it.
    """

    def __init__(self, element: str, name: str, problem: str) -> None:
        super().__init__(
            f"{element}.{name}: {problem}",
            hint="check COUNTLINE_DEEPSTREAM_RELEASE, COUNTLINE_DEEPSTREAM_GPU and COUNTLINE_CAPACITY",
        )
        self.element = element
        self.name = name


def table(element: str, release: Release) -> dict[str, Property]:
    """The properties of an element, by name.

    Raises:
        PropertyError: this plane does not use the element.
    """
    if element not in ELEMENTS:
        raise PropertyError(element, "*", "this plane does not use such an element")
    known = dict(ELEMENTS[element])
    if element == "nvurisrcbin":
        known["select-rtp-protocol"] = Property(int, choices=_RTP_PROTOCOLS[release])
    return known


def checked(element: str, values: Mapping[str, Value], release: Release) -> dict[str, Value]:
    """These values, if the element accepts all of them.

    Raises:
        PropertyError: it has no such property, or does not accept a value.
    """
    known = table(element, release)
    for name, value in values.items():
        if name not in known:
            raise PropertyError(element, name, f"DeepStream {release.value} has no such property")
        problem = _problem(known[name], value)
        if problem:
            raise PropertyError(element, name, problem)
    return dict(values)


def _problem(row: Property, value: Value) -> str:
    if type(value) is not row.kind:
        return f"expects {row.kind.__name__}, got {value!r}"
    if row.kind is not int:
        return ""
    if row.choices and value not in row.choices:
        return f"expects one of {', '.join(map(str, row.choices))}, got {value}"
    if not row.choices and not row.low <= int(value) <= row.high:
        return f"expects {row.low} to {row.high}, got {value}"
    return ""
