"""One part of DeepStream is missing: the worker does not start, and reports the part and the image that has it."""

import sys
from pathlib import Path

import pytest
from tests.doubles.deepstream import Installed
from tests.fixtures.pipelines.deepstream_bench import install_root

from countline_pipelines.planes.deepstream import checks
from countline_pipelines.planes.deepstream.checks import CheckFinding, DeepStreamMissingError
from countline_pipelines.planes.deepstream.config import facts
from countline_pipelines.planes.deepstream.config.facts import Release
from countline_pipelines.planes.deepstream.config.properties import BoxPath, PipelineOptions


@pytest.fixture
def options(deepstream_double: Installed, tmp_path: Path) -> PipelineOptions:
    """All of it is there."""
    root = install_root(tmp_path / "deepstream", deepstream_double.facts.release)
    complete = PipelineOptions(Release.V7_1, boxes=BoxPath.PYTHON, root=root)
    checks.require_runtime(complete)
    return complete


def only_finding(options: PipelineOptions) -> CheckFinding:
    with pytest.raises(DeepStreamMissingError) as caught:
        checks.require_runtime(options)
    (finding,) = caught.value.findings
    assert any(release.image in caught.value.hint for release in Release)
    assert finding.name in caught.value.message
    return finding


@pytest.mark.parametrize("element", checks.ELEMENTS)
def test_a_plugin_that_is_missing_is_named(options: PipelineOptions, element: str) -> None:
    from gi.repository import Gst

    registry = Gst.Registry.get()
    registry.remove_feature(registry.lookup_feature(element))
    assert only_finding(options).detail == f"GStreamer has no {element}"


def test_bindings_that_are_missing_are_named(options: PipelineOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyds", None)  # type: ignore[arg-type]
    assert only_finding(options).name == "pyds"


def test_a_driver_that_is_missing_is_named(
    options: PipelineOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # type: ignore[arg-type]
    monkeypatch.setattr(checks, "KERNEL_DRIVER", tmp_path / "none")
    monkeypatch.setattr(checks, "_has_cuda", lambda: False)
    assert "no NVIDIA driver" in only_finding(options).detail


@pytest.mark.parametrize("file", ["version", facts.TRACKER_LIBRARY])
def test_a_file_of_deepstream_that_is_missing_is_named(options: PipelineOptions, file: str) -> None:
    (options.root / file).unlink()
    assert file in only_finding(options).detail
