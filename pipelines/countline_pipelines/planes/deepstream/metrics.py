"""Metrics of this plane alone: how busy the GPU is. Metrics of cameras are in `countline_pipelines.metrics`.

The figures come from NVIDIA's management library (package `nvidia-ml-py`, module `pynvml`). Without the package or a
driver there are no figures and no error.
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
    """The module `pynvml`, initialised; None without the package or a driver.

    The result is not cached: after a driver update the library works again, and initialising it twice only raises a
    counter.
    """
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001  (missing package, library or driver: each raises its own error)
        return None
    return nvml


def observe_gpu(gpu: int) -> None:
    """Set the gauges to the present state of a GPU; `gpu` is CUDA's number, from 0."""
    nvml = library()
    if nvml is None:
        return
    with suppress(nvml.NVMLError):
        device = _device(nvml, gpu, os.environ.get(VISIBLE, ""))
        UTILISATION.labels(str(gpu)).set(nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100)
        DECODER.labels(str(gpu)).set(nvml.nvmlDeviceGetDecoderUtilization(device)[0] / 100)
        MEMORY.labels(str(gpu)).set(nvml.nvmlDeviceGetMemoryInfo(device).used)


def _device(nvml: Any, gpu: int, visible: str) -> Any:
    """The library's handle of CUDA's device `gpu`. CUDA numbers only the visible devices, the library numbers all.

    Args:
        nvml: the library.
        gpu: from 0.
        visible: indices or UUIDs, as `CUDA_VISIBLE_DEVICES` has them; empty for all. An index means the same device to
            both when devices are in bus order (CUDA_DEVICE_ORDER=PCI_BUS_ID); CUDA's own order differs if the machine
            has different GPUs.
    """
    names = [name.strip() for name in visible.split(",")] if visible else []
    if gpu >= len(names):
        return nvml.nvmlDeviceGetHandleByIndex(gpu)
    name = names[gpu]
    return nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdecimal() else nvml.nvmlDeviceGetHandleByUUID(name)
