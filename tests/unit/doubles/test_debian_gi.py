"""Without GStreamer the double says what to install, and tests skip with that."""

import importlib.util
import sys

import pytest
from tests.doubles.deepstream import debian_gi


def test_a_python_without_gi_learns_what_to_install(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "gi", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(debian_gi, "DEBIAN_GI", tmp_path)
    with pytest.raises(debian_gi.NoGStreamerError, match=r"no gi for Python .*apt-get install python3-gst-1\.0"):
        debian_gi.load_gstreamer()
