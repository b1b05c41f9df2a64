"""Imports GStreamer and pyds, at the start of a plane and not before. No other module of the product does.

GStreamer reads the environment variable that selects the muxer once, when it loads the plugin; so the variable must be
set before anything asks GStreamer for an element.
"""

import importlib
import os
from dataclasses import dataclass
from typing import Any

from countline_common.errors import UnavailableError
from countline_pipelines.planes.deepstream.config.facts import NEW_MUX, NEW_MUX_VARIABLE


class PipelineError(UnavailableError):
    """A pipeline cannot be built or does not play."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """GStreamer with DeepStream's plugins, and pyds."""

    gst: Any
    glib: Any
    pyds: Any


def select_new_mux() -> None:
    """Make GStreamer load the new muxer; call it before anything asks GStreamer for an element."""
    os.environ[NEW_MUX_VARIABLE] = NEW_MUX


def load_gstreamer() -> Any:
    """The module `gi.repository.Gst`, initialised.

    Raises:
        ImportError: GStreamer's bindings are not installed.
        ValueError: the bindings have no GStreamer 1.0.
    """
    gi = importlib.import_module("gi")
    gi.require_version("Gst", "1.0")
    gst = importlib.import_module("gi.repository").Gst
    if not gst.is_initialized():
        gst.init(None)
    return gst


def open_runtime() -> Runtime:
    """Load everything that a plane needs.

    Raises:
        ImportError: GStreamer's bindings or pyds are not installed; `checks.require_runtime` reports what is missing.
    """
    gst = load_gstreamer()
    return Runtime(gst, importlib.import_module("gi.repository").GLib, importlib.import_module("pyds"))
