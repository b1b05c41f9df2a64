"""A double of NVIDIA DeepStream for tests: its elements, its Python bindings, and its failures."""

from tests.doubles.deepstream.debian_gi import NoGStreamerError
from tests.doubles.deepstream.installed import Installed, installed

__all__ = ["Installed", "NoGStreamerError", "installed"]
