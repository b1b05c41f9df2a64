"""PyGObject for the Python that runs the tests: its own, else Debian's, whose extension fits the same minor of CPython.

Debian's package lies in dist-packages beside many others. Only `gi` is loaded from there, so no package of the system
shadows a pinned one. The overrides of gst-python (python3-gst-1.0) are part of it.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

DEBIAN_GI = Path("/usr/lib/python3/dist-packages/gi")
PACKAGES = "python3-gst-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-libav"


class NoGStreamerError(Exception):
    """GStreamer or PyGObject is not usable from this Python; the message names the packages to install."""


def load_gstreamer() -> None:
    """Make `from gi.repository import Gst, GstBase, GstVideo` work, and initialise GStreamer.

    Raises:
        NoGStreamerError: something is missing.
    """
    try:
        _find_gi()
        import gi

        for namespace in ("Gst", "GstBase", "GstVideo"):
            gi.require_version(namespace, "1.0")
        from gi.repository import Gst
    except (ImportError, ValueError) as error:
        raise NoGStreamerError(f"no GStreamer from this Python ({error}): apt-get install {PACKAGES}") from error
    if not Gst.is_initialized():
        Gst.init(None)
    _need_overrides_and_plugins(Gst)


def _find_gi() -> None:
    if "gi" in sys.modules or importlib.util.find_spec("gi") is not None:
        return
    built_for_us = any((DEBIAN_GI / f"_gi{suffix}").exists() for suffix in importlib.machinery.EXTENSION_SUFFIXES)
    if not built_for_us:
        raise ImportError(f"no gi for Python {sys.version_info.major}.{sys.version_info.minor}")
    spec = importlib.util.spec_from_file_location(
        "gi", DEBIAN_GI / "__init__.py", submodule_search_locations=[str(DEBIAN_GI)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gi"] = module
    spec.loader.exec_module(module)


def _need_overrides_and_plugins(gst: object) -> None:
    if not hasattr(gst, "Fraction"):
        raise NoGStreamerError(f"the Gst overrides of gst-python are missing: apt-get install {PACKAGES}")
    missing = [name for name in ("uridecodebin", "videoconvert", "qtdemux", "avdec_h264") if not _has(gst, name)]
    if missing:
        raise NoGStreamerError(f"GStreamer plugins are missing ({', '.join(missing)}): apt-get install {PACKAGES}")


def _has(gst: object, element: str) -> bool:
    return gst.ElementFactory.find(element) is not None  # type: ignore[attr-defined]
