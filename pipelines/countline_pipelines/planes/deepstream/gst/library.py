"""The one place that imports GStreamer and pyds, when a plane is made and not before.

The environment variable that chooses the muxer is read when GStreamer loads the plugin, once and for all; so it is set
before anything asks GStreamer for an element.
"""

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from countline_common.errors import UnavailableError
from countline_pipelines.planes.deepstream.config.facts import NEW_MUX, NEW_MUX_VARIABLE, Value


class PipelineError(UnavailableError):
    """A pipeline cannot be made or does not play."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """GStreamer with DeepStream's plugins, and pyds."""

    gst: Any
    glib: Any
    pyds: Any


def select_new_mux() -> None:
    """Have GStreamer load the new muxer; before anything asks GStreamer for an element."""
    os.environ[NEW_MUX_VARIABLE] = NEW_MUX


def open_runtime() -> Runtime:
    """Load what a plane needs; see `checks.require_runtime`, which says what is missing.

    Raises:
        ImportError: GStreamer's bindings or pyds are not there.
    """
    gi = importlib.import_module("gi")
    gi.require_version("Gst", "1.0")
    repository = importlib.import_module("gi.repository")
    gst, glib = repository.Gst, repository.GLib
    if not gst.is_initialized():
        gst.init(None)
    return Runtime(gst, glib, importlib.import_module("pyds"))


def make(gst: Any, factory: str, name: str | None, values: Mapping[str, Value] | None = None) -> Any:
    """An element with its properties, which were held against the facts before.

    Raises:
        PipelineError: GStreamer has no such element, or refuses a property.
    """
    element = gst.ElementFactory.make(factory, name)
    if element is None:
        raise PipelineError(f"GStreamer has no element {factory!r}", hint="see what is missing: countline doctor")
    for prop, value in (values or {}).items():
        try:
            element.set_property(prop, value)
        except (TypeError, ValueError, OverflowError) as error:
            raise PipelineError(
                f"{factory}.{prop} = {value!r}: {error}",
                hint="is this the release that COUNTLINE_DEEPSTREAM_RELEASE says?",
            ) from error
    return element
