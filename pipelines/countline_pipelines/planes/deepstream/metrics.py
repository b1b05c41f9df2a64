"""What Prometheus is told of this plane alone; all else has the names of `countline_pipelines.metrics`.

How busy the GPU is comes from NVIDIA's management library: nothing where it, or its Python package, is not there.
"""

import importlib
import os
from contextlib import suppress
from typing import Any, Final

from prometheus_client import Gauge

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
UTILISATION: Final = Gauge("countline_gpu_utilisation_ratio", "Share of time that the GPU computes, 0 to 1.", ["gpu"])
DECODER: Final = Gauge("countline_gpu_decoder_ratio", "Share of time that its video decoders work, 0 to 1.", ["gpu"])
MEMORY: Final = Gauge("countline_gpu_memory_bytes", "Memory of the GPU in use, of all processes.", ["gpu"])


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
        device = _device(nvml, gpu, os.environ.get(VISIBLE, ""))
        UTILISATION.labels(str(gpu)).set(nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100)
        DECODER.labels(str(gpu)).set(nvml.nvmlDeviceGetDecoderUtilization(device)[0] / 100)
        MEMORY.labels(str(gpu)).set(nvml.nvmlDeviceGetMemoryInfo(device).used)


def _device(nvml: Any, gpu: int, visible: str) -> Any:
    """The library's handle of what CUDA calls `gpu`, which counts only those that it may see.

    Args:
        nvml: the library, which sees all of them.
        gpu: from 0.
        visible: indices or UUIDs, as the variable has them; empty for all. Indices mean the same to both in the order
            of the bus (CUDA_DEVICE_ORDER=PCI_BUS_ID), which differs from CUDA's own where GPUs differ.
    """
    names = [name.strip() for name in visible.split(",")] if visible else []
    if gpu >= len(names):
        return nvml.nvmlDeviceGetHandleByIndex(gpu)
    name = names[gpu]
    return nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdecimal() else nvml.nvmlDeviceGetHandleByUUID(name)
