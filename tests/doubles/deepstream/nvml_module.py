"""A module that behaves like `pynvml` on a machine with one GPU and its driver; only the names that we use."""

import types

DRIVER = "570.133.20"
"""The minimum of DeepStream 8.0, newer than that of 7.1."""
USED_BYTES = 3 << 30
UUID = "GPU-00000000-0000-0000-0000-000000000001"


class NVMLError(Exception):
    """The library's error."""


def nvml_module() -> types.ModuleType:
    """The module. Unknown names raise AttributeError."""
    module = types.ModuleType("pynvml", "A double of NVIDIA's management library, for tests.")
    module.NVMLError = NVMLError  # type: ignore[attr-defined]
    for function in (
        nvmlInit,
        nvmlSystemGetDriverVersion,
        nvmlDeviceGetCount,
        nvmlDeviceGetHandleByIndex,
        nvmlDeviceGetHandleByUUID,
        nvmlDeviceGetName,
        nvmlDeviceGetUtilizationRates,
        nvmlDeviceGetDecoderUtilization,
        nvmlDeviceGetMemoryInfo,
    ):
        setattr(module, function.__name__, function)
    return module


# The names are NVIDIA's.
def nvmlInit() -> None: ...  # noqa: N802


def nvmlSystemGetDriverVersion() -> str:  # noqa: N802
    return DRIVER


def nvmlDeviceGetCount() -> int:  # noqa: N802
    return 1


def nvmlDeviceGetHandleByIndex(index: int) -> int:  # noqa: N802
    if index != 0:
        raise NVMLError("Invalid Argument")
    return index


def nvmlDeviceGetHandleByUUID(uuid: str) -> int:  # noqa: N802
    if uuid != UUID:
        raise NVMLError("Not Found")
    return 0


def nvmlDeviceGetName(_device: int) -> str:  # noqa: N802
    return "Double of a GPU"


def nvmlDeviceGetUtilizationRates(_device: int) -> types.SimpleNamespace:  # noqa: N802
    """Percent."""
    return types.SimpleNamespace(gpu=50, memory=20)


def nvmlDeviceGetDecoderUtilization(_device: int) -> list[int]:  # noqa: N802
    """Percent, and the microseconds of the measurement."""
    return [25, 166_000]


def nvmlDeviceGetMemoryInfo(_device: int) -> types.SimpleNamespace:  # noqa: N802
    """Bytes."""
    return types.SimpleNamespace(total=80 << 30, used=USED_BYTES, free=(80 << 30) - USED_BYTES)
