"""Which decoder a stream gets: the CPU's, or NVDEC, the video engine of an NVIDIA GPU.

On a GPU the decoder is still FFmpeg's own (`h264`, `hevc` ...); NVDEC only replaces its arithmetic. So the same code as
on the CPU reads headers, orders pictures and sets times, and the same decoder goes on without the GPU, from the same
packet on, if the GPU refuses a stream. (FFmpeg's `h264_cuvid` and the like leave all that to the driver.) Pictures are
copied to main memory as NV12, or as P010 if they have ten bits.

All streams of a process share the device's primary context: a context for each stream would take more than 100 MiB of
GPU memory a camera.
"""

import ctypes
import functools
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import av.error
from av.codec.codec import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available

from countline_common.errors import UnavailableError
from countline_common.logs import get_logger

REST_S: Final = 300.0
"""How long a source on which the GPU failed is decoded on the CPU, before the GPU is tried again."""
_DEVICE: Final = "cuda"
_PROBED_CODEC: Final = "h264"
_PICTURES_ON_GPU: Final = "cuda"
"""FFmpeg's pixel format of a picture in GPU memory."""
_INSTALL_DRIVER: Final = (
    "install NVIDIA's driver with its video libraries (Debian: nvidia-driver, libcuda1, libnvcuvid1); a container "
    "needs NVIDIA's Container Toolkit, `--gpus all` and NVIDIA_DRIVER_CAPABILITIES=compute,video,utility"
)
_LOOK_AT_DRIVER: Final = (
    "check that `nvidia-smi` lists the GPU here, that CUDA_VISIBLE_DEVICES does not hide it, and that the machine was "
    "restarted after its driver changed"
)
_log = get_logger(__name__)


class DecodeMode(StrEnum):
    """What may decode."""

    AUTO = "auto"
    """The GPU if there is one; the CPU for each stream that the GPU refuses."""
    CPU = "cpu"
    """The CPU; the GPU's driver is not even loaded."""
    NVDEC = "nvdec"
    """The GPU alone: a stream that the GPU refuses fails."""


class Decoder(StrEnum):
    """What decodes a stream."""

    CPU = "cpu"
    NVDEC = "nvdec"


@dataclass(frozen=True, slots=True)
class Missing:
    """Why no GPU can decode on this machine, and what to do."""

    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class DecoderChoice:
    """What a stream is opened with."""

    accel: HWAccel | None = None
    """FFmpeg's handle of the GPU; None for the CPU."""
    refusal: str = ""
    """Why the CPU decodes though there is a GPU; empty otherwise."""


class Decoding:
    """What a process decodes with. All cameras share it; methods may be called from any thread.

    Args:
        mode: what may decode.
        accel: the GPU; None if there is none, or none is wanted.
    """

    def __init__(self, mode: DecodeMode = DecodeMode.CPU, accel: HWAccel | None = None) -> None:
        self.mode = mode
        self._accel = accel
        # Kept and never read: the context lives as long as something refers to it, and making it is slow.
        self._context = None if accel is None else accel.create(Codec(_PROBED_CODEC, "r"))
        self._resting: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def choose(self, source: str) -> DecoderChoice:
        """Return what to open a source with now."""
        if self._accel is None:
            return DecoderChoice()
        if refusal := self._refusal_of(source):
            return DecoderChoice(refusal=refusal)
        try:
            # Distinguishes a lost GPU from a source that cannot be opened. The result is not used.
            self._accel.create(Codec(_PROBED_CODEC, "r"))
        except (av.error.FFmpegError, OSError) as error:
            return DecoderChoice(refusal=f"the GPU cannot be used any more: {error.strerror}")
        return DecoderChoice(self._accel)

    def rest(self, source: str, why: str) -> None:
        """Keep a source off the GPU for `REST_S`, because it failed there."""
        now = time.monotonic()
        with self._lock:
            self._resting = {name: held for name, held in self._resting.items() if held[0] > now}
            self._resting[source] = (now + REST_S, why)

    def _refusal_of(self, source: str) -> str:
        with self._lock:
            until, why = self._resting.get(source, (0.0, ""))
        return why if until > time.monotonic() else ""


def decoding_of(mode: DecodeMode) -> Decoding:
    """Return what a process decodes with in this mode.

    Raises:
        UnavailableError: the mode is NVDEC, and no GPU can decode.
    """
    if mode is DecodeMode.CPU:
        return Decoding(mode)
    missing = missing_for_nvdec()
    if missing is None:
        return Decoding(mode, gpu())
    if mode is DecodeMode.NVDEC:
        raise UnavailableError(f"no GPU can decode here: {missing.what}", hint=f"{missing.hint}; or use --decode auto")
    _log.info("decoding.on_cpu", why=missing.what)
    return Decoding(mode)


def gpu() -> HWAccel:
    """FFmpeg's handle of NVDEC."""
    return HWAccel(_DEVICE, allow_software_fallback=True, options={"primary_ctx": "1"})


def is_on_gpu(codec_context: Any) -> bool:
    """Whether a decoder's pictures come from the GPU; certain only after its first picture."""
    return bool(codec_context.is_hwaccel and codec_context.pix_fmt == _PICTURES_ON_GPU)


@functools.cache
def missing_for_nvdec() -> Missing | None:
    """What is missing to decode on a GPU; None if nothing is. A process checks once."""
    if _DEVICE not in hwdevices_available():
        return Missing("this FFmpeg was built without CUDA", "install PyAV as a wheel: pip install --only-binary av av")
    for library in ("libcuda.so.1", "libnvcuvid.so.1"):
        try:
            ctypes.CDLL(library)
        except OSError:
            return Missing(f"{library} of NVIDIA's driver cannot be loaded", _INSTALL_DRIVER)
    return _missing_of_driver(ctypes.CDLL("libcuda.so.1"))


def _missing_of_driver(cuda: ctypes.CDLL) -> Missing | None:
    if status := cuda.cuInit(0):
        return Missing(f"NVIDIA's driver answers {_error_name(cuda, status)}", _LOOK_AT_DRIVER)
    try:
        gpu().create(Codec(_PROBED_CODEC, "r"))
    except (av.error.FFmpegError, OSError, NotImplementedError) as error:
        return Missing(f"FFmpeg cannot use the GPU: {error}", _LOOK_AT_DRIVER)
    return None


def _error_name(cuda: ctypes.CDLL, status: int) -> str:
    name = ctypes.c_char_p()
    cuda.cuGetErrorName(status, ctypes.byref(name))
    return f"{(name.value or b'error').decode()} ({status})"
