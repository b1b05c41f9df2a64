"""What the DeepStream plane needs of a machine, what is there, and what to do about what is not.

The same findings are printed by `countline doctor` and raised where a worker starts on this backend without them.
"""

import ctypes
import importlib
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np

from countline_common.errors import UnavailableError
from countline_pipelines.planes.deepstream import metrics
from countline_pipelines.planes.deepstream.config import facts
from countline_pipelines.planes.deepstream.config.facts import Release
from countline_pipelines.planes.deepstream.config.properties import BoxPath, PipelineOptions
from countline_pipelines.planes.deepstream.gst.library import Runtime, open_runtime, select_new_mux

USE_IMAGE: Final = (
    f"run the worker in {Release.V8_0.image}, or in {Release.V7_1.image} with Python 3.11 and bindings built for it"
)
INSTALL_PYDS: Final = f"run user_deepstream_python_apps_install.sh in {Release.V8_0.image}; never pip install pyds"
ELEMENTS: Final = ("nvurisrcbin", "nvstreammux", "nvinferserver", "nvtracker", "nvvideoconvert")
NEEDED_OF_PYDS: Final = ("gst_buffer_get_nvds_batch_meta", "NvDsFrameMeta", "NvDsObjectMeta")
KERNEL_DRIVER: Final = Path("/proc/driver/nvidia/version")
_RELEASE: Final = re.compile(r"(\d+)\.(\d+)")


class Verdict(StrEnum):
    """Of one check."""

    OK = "ok"
    MISSING = "missing"
    ABSENT = "absent"
    """Not there, and not needed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    detail: str
    hint: str = ""


class DeepStreamMissingError(UnavailableError):
    """This machine lacks something that the DeepStream plane needs.

    Args:
        findings: what is missing.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        told = "; ".join(f"{finding.name}: {finding.detail}" for finding in findings)
        hints = dict.fromkeys(finding.hint for finding in findings if finding.hint)
        super().__init__(f"the DeepStream backend cannot run here: {told}", hint="; ".join(hints))
        self.findings = tuple(findings)


def release_of(root: Path) -> Release | None:
    """The release that is installed, by its version file; None where there is none that this plane is written for."""
    try:
        found = _RELEASE.search((root / "version").read_text())
    except OSError:
        return None
    words = f"{found[1]}.{found[2]}" if found else ""
    return next((release for release in Release if release.value == words), None)


def check_version(root: Path) -> Finding:
    """DeepStream itself."""
    known = ", ".join(release.value for release in Release)
    path = root / "version"
    try:
        text = " ".join(path.read_text().split())
    except OSError:
        return Finding("DeepStream", Verdict.MISSING, f"there is no {path}", USE_IMAGE)
    if release_of(root) is None:
        return Finding("DeepStream", Verdict.MISSING, f"{text!r} is none of {known}", USE_IMAGE)
    return Finding("DeepStream", Verdict.OK, text)


def check_gstreamer() -> Finding:
    """GStreamer, and its bindings for this Python."""
    try:
        gst = _gstreamer()
    except (ImportError, ValueError) as error:
        return Finding("GStreamer", Verdict.MISSING, f"no bindings for this Python: {error}", USE_IMAGE)
    return Finding("GStreamer", Verdict.OK, gst.version_string())


def _gstreamer() -> Any:
    gi = importlib.import_module("gi")
    gi.require_version("Gst", "1.0")
    gst = importlib.import_module("gi.repository").Gst
    if not gst.is_initialized():
        gst.init(None)
    return gst


def check_plugins() -> Finding:
    """DeepStream's elements."""
    try:
        gst = _gstreamer()
    except (ImportError, ValueError):
        return Finding("plugins", Verdict.MISSING, "GStreamer is not there", USE_IMAGE)
    missing = [name for name in ELEMENTS if gst.ElementFactory.find(name) is None]
    if missing:
        detail = f"GStreamer has no {', '.join(missing)}"
        hint = f"{USE_IMAGE}; where only nvinferserver is missing, this is not the triton image"
        return Finding("plugins", Verdict.MISSING, detail, hint)
    return Finding("plugins", Verdict.OK, ", ".join(ELEMENTS))


def check_pyds() -> Finding:
    """The bindings for metadata; a package of the same name on PyPI is about something else."""
    try:
        pyds = importlib.import_module("pyds")
    except ImportError as error:
        return Finding("pyds", Verdict.MISSING, str(error), INSTALL_PYDS)
    lacking = [name for name in NEEDED_OF_PYDS if not hasattr(pyds, name)]
    if lacking:
        detail = f"{getattr(pyds, '__file__', 'pyds')} is another package of that name: it has no {lacking[0]}"
        return Finding("pyds", Verdict.MISSING, detail, f"pip uninstall pyds, then {INSTALL_PYDS}")
    if np.__version__.partition(".")[0] != "1":
        return Finding("pyds", Verdict.MISSING, f"it is not made for NumPy {np.__version__}", "pip install 'numpy<2'")
    return Finding("pyds", Verdict.OK, str(getattr(pyds, "__version__", "present")))


def check_tracker(root: Path) -> Finding:
    """The tracker's library."""
    path = root / facts.TRACKER_LIBRARY
    if not path.exists():
        return Finding("tracker", Verdict.MISSING, f"there is no {path}", USE_IMAGE)
    return Finding("tracker", Verdict.OK, str(path))


def check_parser(options: PipelineOptions) -> Finding:
    """Our C++ function."""
    path = options.parser_library
    if options.boxes is not BoxPath.PARSER:
        return Finding("parser", Verdict.ABSENT, "boxes are read in Python")
    if not path.exists():
        hint = f"make -C {path.parent}, or set COUNTLINE_DEEPSTREAM_BOXES=python for a few cameras"
        return Finding("parser", Verdict.MISSING, f"there is no {path}", hint)
    return Finding("parser", Verdict.OK, str(path))


def check_gpu(release: Release) -> Finding:
    """The driver, by NVIDIA's management library, by the kernel, or by CUDA's own library."""
    nvml = metrics.library()
    if nvml is not None and nvml.nvmlDeviceGetCount() > 0:
        return _gpu_of(nvml, release)
    try:
        told = KERNEL_DRIVER.read_text().splitlines()[0]
    except (OSError, IndexError):
        told = "CUDA's library" if _has_cuda() else ""
    if not told:
        hint = f"install NVIDIA's driver, {release.driver} or later, and run {release.image} with --gpus all"
        return Finding("GPU", Verdict.MISSING, "there is no NVIDIA driver", hint)
    return Finding("GPU", Verdict.OK, f"{told} (pip install 'countline[gpu]' for its metrics)")


def _gpu_of(nvml: Any, release: Release) -> Finding:
    devices = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    names = ", ".join(_text(nvml.nvmlDeviceGetName(device)) for device in devices)
    driver = _text(nvml.nvmlSystemGetDriverVersion())
    if _numbers(driver) >= _numbers(release.driver):
        return Finding("GPU", Verdict.OK, f"{names}; driver {driver}")
    # Not refused: CUDA's compatibility libraries let some GPUs do with an older one.
    detail = f"{names}; driver {driver}, and DeepStream {release.value} asks for {release.driver}"
    return Finding("GPU", Verdict.OK, detail, f"install the driver {release.driver} or later")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdecimal()]


def _has_cuda() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def check_nvdec() -> Finding:
    """Whether FFmpeg could decode on a GPU: for the software backend, DeepStream has decoders of its own."""
    from countline_pipelines.sources.decoding import missing_for_nvdec

    missing = missing_for_nvdec()
    if missing is None:
        return Finding("NVDEC in FFmpeg", Verdict.OK, "decodes on the GPU")
    return Finding("NVDEC in FFmpeg", Verdict.ABSENT, missing.what, missing.hint)


def local_findings(options: PipelineOptions) -> list[Finding]:
    """Everything that the plane needs of this machine, in the order in which one would put it right."""
    checks: tuple[Callable[[], Finding], ...] = (
        lambda: check_gpu(options.release),
        lambda: check_version(options.root),
        check_gstreamer,
        check_plugins,
        check_pyds,
        lambda: check_tracker(options.root),
        lambda: check_parser(options),
    )
    return [check() for check in checks]


def require_runtime(options: PipelineOptions) -> Runtime:
    """GStreamer and pyds, where everything is there.

    Raises:
        DeepStreamMissingError: something is not; it names all that is missing, each with what to do.
    """
    select_new_mux()
    missing = [finding for finding in local_findings(options) if finding.verdict is Verdict.MISSING]
    if missing:
        raise DeepStreamMissingError(missing)
    return open_runtime()


def machine() -> str:
    """As CUDA's sharing of memory asks for it."""
    return platform.machine()
