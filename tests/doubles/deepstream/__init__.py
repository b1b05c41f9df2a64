"""A double of NVIDIA DeepStream for tests: its elements, its Python bindings, and its failures."""

from tests.doubles.deepstream.installed import Installed, installed
from tests.doubles.deepstream.modules.debian_gi import NoGStreamerError

__all__ = ["Installed", "NoGStreamerError", "installed"]
