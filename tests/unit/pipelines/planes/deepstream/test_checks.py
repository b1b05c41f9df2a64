"""Findings about what a machine lacks, with hints. The test machine has no DeepStream."""

import sys
import types
from pathlib import Path

import pytest
from tests.doubles.deepstream.modules.nvml_module import DRIVER, USED_BYTES, UUID, nvml_module

from countline_common.errors import InvalidInputError
from countline_pipelines.planes.deepstream import checks, metrics
from countline_pipelines.planes.deepstream.checks import CheckVerdict, DeepStreamMissingError
from countline_pipelines.planes.deepstream.config import facts
from countline_pipelines.planes.deepstream.config.facts import Release
from countline_pipelines.planes.deepstream.config.properties import BoxPath, PipelineOptions
from countline_pipelines.planes.deepstream.settings import DeepStreamSettings


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("Version: DeepStreamSDK 7.1.0\n", Release.V7_1),
        ("8.0", Release.V8_0),
        ("DeepStream 9.0", None),
        ("Version: 6.3.0", None),
        ("17.1", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_the_release_is_read_from_the_version_file(text: str, release: Release | None, tmp_path: Path) -> None:
    (tmp_path / "version").write_text(text)
    assert checks.release_of(tmp_path) is release
    assert (checks.check_version(tmp_path).verdict is CheckVerdict.OK) is (release is not None)


def test_without_deepstream_everything_that_is_missing_is_reported_at_once_with_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyds", None)  # type: ignore[arg-type]
    options = PipelineOptions(Release.V7_1, root=tmp_path, parser=tmp_path / "missing.so")
    with pytest.raises(DeepStreamMissingError) as caught:
        checks.require_runtime(options)
    missing = {finding.name for finding in caught.value.findings}
    assert {"DeepStream", "pyds", "tracker", "parser"} <= missing
    assert "nvcr.io/nvidia/deepstream:7.1-triton-multiarch" in caught.value.hint
    assert "COUNTLINE_DEEPSTREAM_BOXES=python" in caught.value.hint
    assert all(finding.hint for finding in caught.value.findings)


def test_the_pyds_of_pypi_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyds", types.ModuleType("pyds"))
    finding = checks.check_pyds()
    assert finding.verdict is CheckVerdict.MISSING
    assert "another package" in finding.detail
    assert "pip uninstall pyds" in finding.hint


def test_a_parser_is_not_missed_where_boxes_are_read_in_python(tmp_path: Path) -> None:
    options = PipelineOptions(Release.V7_1, boxes=BoxPath.PYTHON, parser=tmp_path / "missing.so")
    assert checks.check_parser(options).verdict is CheckVerdict.ABSENT


def test_without_the_management_library_there_are_no_metrics_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # type: ignore[arg-type]  # as where it is not installed
    assert metrics.library() is None
    metrics.observe_gpu(0)


def test_a_gpu_is_measured_in_shares_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml_module())
    metrics.observe_gpu(0)
    metrics.observe_gpu(1)  # is not there, which is no error
    gauges = (metrics.UTILISATION, metrics.DECODER, metrics.MEMORY)
    assert [gauge.labels("0")._value.get() for gauge in gauges] == [0.5, 0.25, USED_BYTES]


@pytest.mark.parametrize(
    ("visible", "gpu", "asked"),
    [
        ("", 0, 0),
        ("", 2, 2),
        ("3", 0, 3),
        ("3, 1", 1, 1),
        (UUID, 0, UUID),
        ("3", 1, 1),
    ],
)
def test_the_gpu_that_is_measured_is_the_one_that_cuda_means(
    monkeypatch: pytest.MonkeyPatch, visible: str, gpu: int, asked: int | str
) -> None:
    """A worker for each GPU sees one alone, and calls it 0; the management library sees all of them."""
    handles: list[int | str] = []
    nvml = nvml_module()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(nvml, "nvmlDeviceGetHandleByIndex", handles.append)
    monkeypatch.setattr(nvml, "nvmlDeviceGetHandleByUUID", handles.append)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    metrics.observe_gpu(gpu)
    assert handles == [asked]


def without_gpu(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As on a machine without a driver, whatever this one has."""
    monkeypatch.setitem(sys.modules, "pynvml", None)  # type: ignore[arg-type]
    monkeypatch.setattr(checks, "KERNEL_DRIVER", folder / "version")
    monkeypatch.setattr(checks, "_has_cuda", lambda: False)


@pytest.mark.parametrize("release", Release)
def test_a_driver_that_is_missing_is_reported_with_its_number_and_the_image(
    monkeypatch: pytest.MonkeyPatch, release: Release, tmp_path: Path
) -> None:
    without_gpu(monkeypatch, tmp_path)
    with pytest.raises(DeepStreamMissingError) as caught:
        checks.require_runtime(PipelineOptions(release, root=tmp_path))
    (gpu,) = [finding for finding in caught.value.findings if finding.name == "GPU"]
    assert release.driver in gpu.hint
    assert release.image in gpu.hint
    assert gpu.hint in caught.value.hint


@pytest.mark.parametrize(("release", "old"), [(Release.V7_1, "535.104.12"), (Release.V8_0, "570.86.15")])
def test_a_driver_older_than_the_release_asks_for_is_reported_and_not_refused(
    monkeypatch: pytest.MonkeyPatch, release: Release, old: str
) -> None:
    nvml = nvml_module()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert checks.check_gpu(release) == checks.CheckFinding("GPU", CheckVerdict.OK, f"Double of a GPU; driver {DRIVER}")
    monkeypatch.setattr(nvml, "nvmlSystemGetDriverVersion", lambda: old)
    finding = checks.check_gpu(release)
    assert finding.verdict is CheckVerdict.OK
    assert f"asks for {release.driver}" in finding.detail
    assert release.driver in finding.hint


def test_without_the_management_library_the_kernel_or_cuda_reports_the_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_gpu(monkeypatch, tmp_path)
    assert checks.check_gpu(Release.V8_0).verdict is CheckVerdict.MISSING
    monkeypatch.setattr(checks, "_has_cuda", lambda: True)
    assert checks.check_gpu(Release.V8_0).verdict is CheckVerdict.OK
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.133.20\nGCC version: 12\n")
    assert "570.133.20 (pip install" in checks.check_gpu(Release.V8_0).detail


def test_a_module_of_bindings_that_is_missing_is_reported_with_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyds", None)  # type: ignore[arg-type]
    finding = checks.check_pyds()
    assert finding.verdict is CheckVerdict.MISSING
    assert Release.V8_0.image in finding.hint


def test_settings_become_options_of_a_pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "version").write_text("Version: DeepStreamSDK 8.0.0")
    for name, value in {
        "ROOT": str(tmp_path), "BOXES": "python", "TRACKER": "iou", "FRAME_RATE": "12.5", "GPU": "2",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"COUNTLINE_DEEPSTREAM_{name}", value)
    options = DeepStreamSettings().checked("triton:8001").pipeline_options(24)
    assert (options.release, options.boxes) == (Release.V8_0, BoxPath.PYTHON)
    assert (options.capacity, options.gpu, options.frame_rate) == (24, 2, 12.5)
    assert str(options.root / facts.TRACKER_LIBRARY).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FRAME_RATE", "0", "frame rate"),
        ("SHARE_CUDA", "1", "another machine"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"COUNTLINE_DEEPSTREAM_{name}", value)
    with pytest.raises(InvalidInputError, match=words) as caught:
        DeepStreamSettings().checked("triton:8001")
    assert caught.value.hint
