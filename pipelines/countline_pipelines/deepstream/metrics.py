"""What Prometheus is told of this plane alone; all else has the names of `countline_pipelines.metrics`.

How busy the GPU is comes from NVIDIA's management library: nothing where it, or its Python package, is not there.
"""

import importlib
from contextlib import suppress
from typing import Any, Final

from prometheus_client import Gauge

UTILISATION: Final = Gauge("countline_gpu_utilisation_ratio", "Share of time that the GPU computes, 0 to 1.", ["gpu"])
DECODER: Final = Gauge("countline_gpu_decoder_ratio", "Share of time that its video decoders work, 0 to 1.", ["gpu"])
MEMORY: Final = Gauge("countline_gpu_memory_bytes", "Memory of the GPU in use, of all processes.", ["gpu"])
LINE_TOTALS: Final = Gauge(
    "countline_nvdsanalytics_crossings",
    "What nvdsanalytics has counted, to compare with; no count.",
    ["camera", "label"],
)


def library() -> Any | None:
    """The module `pynvml`, initialised; None where there is none, or no driver.

    Not remembered: a driver that is updated under us comes back, and to initialise it again only counts up.
    """
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001  (a missing package, library or driver: each raises what it likes)
        return None
    return nvml


def observe_gpu(gpu: int) -> None:
    """Tell Prometheus of the GPU as it is now."""
    nvml = library()
    if nvml is None:
        return
    with suppress(nvml.NVMLError):
        device = nvml.nvmlDeviceGetHandleByIndex(gpu)
        UTILISATION.labels(str(gpu)).set(nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100)
        DECODER.labels(str(gpu)).set(nvml.nvmlDeviceGetDecoderUtilization(device)[0] / 100)
        MEMORY.labels(str(gpu)).set(nvml.nvmlDeviceGetMemoryInfo(device).used)
