"""What the DeepStream plane needs of a machine, what is installed, and what to do about what is missing.

`countline doctor` prints the findings; a worker that starts on this backend raises the missing ones.
"""

import ctypes
import importlib
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
from countline_pipelines.planes.deepstream.gst.library import Runtime, load_gstreamer, open_runtime, select_new_mux

USE_IMAGE: Final = (
    f"run the worker in {Release.V8_0.image}, or in {Release.V7_1.image} with Python 3.11 and bindings built for it"
)
INSTALL_PYDS: Final = f"run user_deepstream_python_apps_install.sh in {Release.V8_0.image}; never pip install pyds"
ELEMENTS: Final = ("nvurisrcbin", "nvstreammux", "nvinferserver", "nvtracker", "nvvideoconvert")
NEEDED_OF_PYDS: Final = ("gst_buffer_get_nvds_batch_meta", "NvDsFrameMeta", "NvDsObjectMeta")
KERNEL_DRIVER: Final = Path("/proc/driver/nvidia/version")
_RELEASE: Final = re.compile(r"(?<!\d)(\d{1,6})\.(\d{1,6})")


class CheckVerdict(StrEnum):
    """The result of one check."""

    OK = "ok"
    MISSING = "missing"
    ABSENT = "absent"
    """Not installed, and not needed."""


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """What one check found."""

    name: str
    verdict: CheckVerdict
    detail: str
    hint: str = ""


class DeepStreamMissingError(UnavailableError):
    """This machine lacks something that the DeepStream plane needs.

    Args:
        findings: what is missing.
    """

    def __init__(self, findings: Sequence[CheckFinding]) -> None:
        missing = "; ".join(f"{finding.name}: {finding.detail}" for finding in findings)
        hints = dict.fromkeys(finding.hint for finding in findings if finding.hint)
        super().__init__(f"the DeepStream backend cannot run here: {missing}", hint="; ".join(hints))
        self.findings = tuple(findings)


def release_of(root: Path) -> Release | None:
    """The release that the version file in `root` names; None if there is no such file or the release is not known."""
    try:
        found = _RELEASE.search((root / "version").read_text())
    except OSError:
        return None
    number = f"{found[1]}.{found[2]}" if found else ""
    return next((release for release in Release if release.value == number), None)


def check_version(root: Path) -> CheckFinding:
    """DeepStream itself."""
    known = ", ".join(release.value for release in Release)
    path = root / "version"
    try:
        text = " ".join(path.read_text().split())
    except OSError:
        return CheckFinding("DeepStream", CheckVerdict.MISSING, f"there is no {path}", USE_IMAGE)
    if release_of(root) is None:
        return CheckFinding("DeepStream", CheckVerdict.MISSING, f"{text!r} is none of {known}", USE_IMAGE)
    return CheckFinding("DeepStream", CheckVerdict.OK, text)


def check_gstreamer() -> CheckFinding:
    """GStreamer, and its bindings for this Python."""
    try:
        gst = load_gstreamer()
    except (ImportError, ValueError) as error:
        return CheckFinding("GStreamer", CheckVerdict.MISSING, f"no bindings for this Python: {error}", USE_IMAGE)
    return CheckFinding("GStreamer", CheckVerdict.OK, gst.version_string())


def check_plugins() -> CheckFinding:
    """DeepStream's elements."""
    try:
        gst = load_gstreamer()
    except (ImportError, ValueError):
        return CheckFinding("plugins", CheckVerdict.MISSING, "GStreamer is missing", USE_IMAGE)
    missing = [name for name in ELEMENTS if gst.ElementFactory.find(name) is None]
    if missing:
        detail = f"GStreamer has no {', '.join(missing)}"
        hint = f"{USE_IMAGE}; if only nvinferserver is missing, the image is not a -triton- one"
        return CheckFinding("plugins", CheckVerdict.MISSING, detail, hint)
    return CheckFinding("plugins", CheckVerdict.OK, ", ".join(ELEMENTS))


def check_pyds() -> CheckFinding:
    """DeepStream's Python bindings; PyPI has an unrelated package of the same name."""
    try:
        pyds = importlib.import_module("pyds")
    except ImportError as error:
        return CheckFinding("pyds", CheckVerdict.MISSING, str(error), INSTALL_PYDS)
    lacking = [name for name in NEEDED_OF_PYDS if not hasattr(pyds, name)]
    if lacking:
        detail = f"{getattr(pyds, '__file__', 'pyds')} is another package of that name: it has no {lacking[0]}"
        return CheckFinding("pyds", CheckVerdict.MISSING, detail, f"pip uninstall pyds, then {INSTALL_PYDS}")
    if np.__version__.partition(".")[0] != "1":
        detail = f"it does not support NumPy {np.__version__}"
        return CheckFinding("pyds", CheckVerdict.MISSING, detail, "pip install 'numpy<2'")
    return CheckFinding("pyds", CheckVerdict.OK, str(getattr(pyds, "__version__", "present")))


def check_tracker(root: Path) -> CheckFinding:
    """The tracker's library."""
    path = root / facts.TRACKER_LIBRARY
    if not path.exists():
        return CheckFinding("tracker", CheckVerdict.MISSING, f"there is no {path}", USE_IMAGE)
    return CheckFinding("tracker", CheckVerdict.OK, str(path))


def check_parser(options: PipelineOptions) -> CheckFinding:
    """Our C++ function."""
    path = options.parser_library
    if options.boxes is not BoxPath.PARSER:
        return CheckFinding("parser", CheckVerdict.ABSENT, "boxes are read in Python")
    if not path.exists():
        hint = f"make -C {path.parent}, or set COUNTLINE_DEEPSTREAM_BOXES=python for a few cameras"
        return CheckFinding("parser", CheckVerdict.MISSING, f"there is no {path}", hint)
    return CheckFinding("parser", CheckVerdict.OK, str(path))


def check_gpu(release: Release) -> CheckFinding:
    """The driver, as NVIDIA's management library, the kernel or CUDA's library reports it."""
    nvml = metrics.library()
    if nvml is not None and nvml.nvmlDeviceGetCount() > 0:
        return _gpu_of(nvml, release)
    try:
        driver = KERNEL_DRIVER.read_text().splitlines()[0]
    except (OSError, IndexError):
        driver = "CUDA's library" if _has_cuda() else ""
    if not driver:
        hint = f"install NVIDIA's driver, {release.driver} or later, and run {release.image} with --gpus all"
        return CheckFinding("GPU", CheckVerdict.MISSING, "there is no NVIDIA driver", hint)
    return CheckFinding("GPU", CheckVerdict.OK, f"{driver} (pip install 'countline[gpu]' for its metrics)")


def _gpu_of(nvml: Any, release: Release) -> CheckFinding:
    devices = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    names = ", ".join(_text(nvml.nvmlDeviceGetName(device)) for device in devices)
    driver = _text(nvml.nvmlSystemGetDriverVersion())
    if _numbers(driver) >= _numbers(release.driver):
        return CheckFinding("GPU", CheckVerdict.OK, f"{names}; driver {driver}")
    # An older driver is not refused: with CUDA's compatibility libraries it may work on some GPUs.
    detail = f"{names}; driver {driver}, and DeepStream {release.value} asks for {release.driver}"
    return CheckFinding("GPU", CheckVerdict.OK, detail, f"install the driver {release.driver} or later")


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


def check_nvdec() -> CheckFinding:
    """Whether FFmpeg can decode on a GPU; for the software backend, since DeepStream has its own decoders."""
    from countline_pipelines.sources.decoding import missing_for_nvdec

    missing = missing_for_nvdec()
    if missing is None:
        return CheckFinding("NVDEC in FFmpeg", CheckVerdict.OK, "decodes on the GPU")
    return CheckFinding("NVDEC in FFmpeg", CheckVerdict.ABSENT, missing.what, missing.hint)


def local_findings(options: PipelineOptions) -> list[CheckFinding]:
    """Everything that the plane needs of this machine, in the order in which to install it.

    Loads GStreamer with the new muxer.
    """
    select_new_mux()
    checks: tuple[Callable[[], CheckFinding], ...] = (
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
    """GStreamer and pyds.

    Raises:
        DeepStreamMissingError: something is missing; the error names everything that is, with what to do.
    """
    missing = [finding for finding in local_findings(options) if finding.verdict is CheckVerdict.MISSING]
    if missing:
        raise DeepStreamMissingError(missing)
    return open_runtime()
