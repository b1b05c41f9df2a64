"""What DeepStream's elements take, as far as this plane uses it: a property is checked before it touches GStreamer.

Two things make this worth a table of its own. The muxer is one of two elements of the same name, chosen by an
environment variable, and a property of the one fails on the other. And names differ between releases, while GStreamer
only warns of a value that is out of range and keeps the old one.

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
"""`object_id` of an object that the tracker does not know; a C macro that pyds does not export."""
TRACKER_ONLY: Final = -0.1
"""`confidence` of a box that the tracker predicts and the detector did not see."""
PLUGIN_PACKAGE: Final = "/opt/nvidia/deepstream/deepstream"
TRACKER_LIBRARY: Final = "lib/libnvds_nvmultiobjecttracker.so"
NEW_MUX_VARIABLE: Final = "USE_NEW_NVSTREAMMUX"
NEW_MUX: Final = "yes"
"""The only value that selects the new muxer, which does not scale. Without it, `nvstreammux` is the legacy element,
which this plane does not use."""
RESET_THROTTLE_S: Final = 3.0
"""One source of the whole process is connected again in so many seconds, whichever pipeline it belongs to."""


class Release(StrEnum):
    """Releases that this plane is written for: the last ones that have wheels of pyds."""

    V7_1 = "7.1"
    V8_0 = "8.0"

    @property
    def image(self) -> str:
        """NVIDIA's container image. That of 7.1 has Python 3.10, and bindings for no other."""
        return f"nvcr.io/nvidia/deepstream:{self.value}-triton-multiarch"

    @property
    def driver(self) -> str:
        """The oldest driver that NVIDIA names for it on data-centre GPUs."""
        return "535.183.06" if self is Release.V7_1 else "570.133.20"


@dataclass(frozen=True, slots=True)
class Property:
    """One property of an element.

    Args:
        kind: of its value.
        low, high: bounds of a number.
        choices: what an enumeration has; empty for others.
        only: releases that have it.
    """

    kind: type
    low: int = 0
    high: int = UINT
    choices: tuple[int, ...] = ()
    only: tuple[Release, ...] = (Release.V7_1, Release.V8_0)


_FLAG: Final = Property(bool)
_TEXT: Final = Property(str)
_COUNT: Final = Property(int)
_BATCH: Final = Property(int, 0, 1024)

# `batched-push-timeout` came to it between 6.3 and 9.0, nobody says when: its configuration file bounds the wait.
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
    "nvvideoconvert": {"gpu-id": _COUNT, "nvbuf-memory-type": Property(int, choices=(0, 1, 2, 3, 4))},
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
    """A property that an element of this release does not have, or a value that it does not take.

    Args:
        element: name of the factory.
        name: of the property.
        problem: what is wrong with it.
    """

    def __init__(self, element: str, name: str, problem: str) -> None:
        super().__init__(f"{element}.{name}: {problem}", hint="see deepstream/facts.py for what this release takes")
        self.element = element
        self.name = name


def table(element: str, release: Release) -> dict[str, Property]:
    """The properties of an element, by name.

    Raises:
        PropertyError: this plane uses no such element.
    """
    if element not in ELEMENTS:
        raise PropertyError(element, "*", "this plane uses no such element")
    known = dict(ELEMENTS[element])
    if element == "nvurisrcbin":
        known["select-rtp-protocol"] = Property(int, choices=_RTP_PROTOCOLS[release])
    return {name: row for name, row in known.items() if release in row.only}


def checked(element: str, values: Mapping[str, Value], release: Release) -> dict[str, Value]:
    """These values, if the element takes every one of them.

    Raises:
        PropertyError: it does not.
    """
    known = table(element, release)
    for name, value in values.items():
        if name not in known:
            raise PropertyError(element, name, f"DeepStream {release.value} has no such property here")
        problem = _problem(known[name], value)
        if problem:
            raise PropertyError(element, name, problem)
    return dict(values)


def _problem(row: Property, value: Value) -> str:
    if type(value) is not row.kind:
        return f"takes {row.kind.__name__}, and was given {value!r}"
    if row.kind is not int:
        return ""
    if row.choices and value not in row.choices:
        return f"takes one of {', '.join(map(str, row.choices))}, and was given {value}"
    if not row.choices and not row.low <= int(value) <= row.high:
        return f"takes {row.low} to {row.high}, and was given {value}"
    return ""
