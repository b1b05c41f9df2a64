"""Decodes the packets of one source, on the GPU while it can, and records which decoder is used and why."""

from typing import Any, Final

import av.error
from av.codec.hwaccel import HWAccel

from countline_pipelines.sources.decoding import DecodeMode, Decoder, Decoding, is_on_gpu
from countline_pipelines.sources.errors import SourceError, SourceFailure
from countline_pipelines.sources.spec import Playback, SourceSpec

_REFUSED: Final = "the GPU does not take this kind of picture, or no decoder of it is free"
_ONLY_GPU_HINT: Final = "use --decode auto, so that the CPU decodes what the GPU refuses"


class GpuFailedError(Exception):
    """The GPU stopped decoding in the middle of a stream."""


class PacketDecoder:
    """Decodes the packets of a source.

    Args:
        spec: the source.
        decoding: what may decode.
    """

    def __init__(self, spec: SourceSpec, decoding: Decoding) -> None:
        self._spec = spec
        self._decoding = decoding
        self._hopes_for_gpu = False
        self.accel: HWAccel | None = None
        """What the recordings of the source are opened with."""
        self.used: Decoder | None = None
        """What decodes; None until the first picture shows it."""
        self.refusal = ""
        """Why the CPU decodes though there is a GPU; empty otherwise."""
        self.broken_packets = 0

    def choose(self) -> None:
        """Choose what to open the source with.

        Raises:
            SourceError: only the GPU may decode, and it refuses.
        """
        choice = self._decoding.choose(self._spec.url)
        self.accel, self._hopes_for_gpu = choice.accel, choice.accel is not None
        if choice.refusal:
            self._do_without_gpu(choice.refusal, SourceFailure.DECODER_LOST)

    def opened(self, codec_context: Any) -> None:
        """Take FFmpeg's decoder of the open source.

        Raises:
            SourceError: only the GPU may decode, and it refuses.
        """
        if self._hopes_for_gpu and not codec_context.is_hwaccel:
            self._hopes_for_gpu = False
            self._do_without_gpu(f"FFmpeg decodes {codec_context.name} on the CPU only")
        if not self._hopes_for_gpu:
            self.used = Decoder.CPU

    def _do_without_gpu(self, refusal: str, failure: SourceFailure = SourceFailure.CODEC_MISSING) -> None:
        if self._decoding.mode is DecodeMode.NVDEC:
            raise SourceError(failure, self._spec.label, refusal, hint=_ONLY_GPU_HINT)
        self.used, self.refusal = Decoder.CPU, refusal

    def decode(self, packet: Any, codec_context: Any) -> list[Any] | None:
        """Return the pictures that a packet completes; None if the packet is broken.

        Raises:
            GpuFailedError: the GPU stopped decoding.
            SourceError: only the GPU may decode, and it refuses.
        """
        try:
            pictures = list(packet.decode())
        except av.error.FFmpegError as error:
            if not isinstance(error, av.error.InvalidDataError):
                self.blame_gpu(codec_context, f"stopped decoding: {error.strerror}")
            self.broken_packets += 1  # one broken packet among good ones; the next may be intact
            return None
        if pictures and self._hopes_for_gpu:
            self._record_decoder(codec_context)
        return pictures

    def blame_gpu(self, codec_context: Any, what: str) -> None:
        """Raise `GpuFailedError` if the GPU decodes."""
        if self._hopes_for_gpu and is_on_gpu(codec_context):
            raise GpuFailedError(f"the GPU {what}")

    def _record_decoder(self, codec_context: Any) -> None:
        """Record what FFmpeg decodes with; it decides again each time the stream's headers change."""
        if is_on_gpu(codec_context):
            self.used, self.refusal = Decoder.NVDEC, ""
        elif not self.refusal:
            self._do_without_gpu(_REFUSED)

    def rest_gpu(self, detail: str) -> None:
        """Keep the source off the GPU, because the GPU failed.

        Raises:
            SourceError: the source cannot be read again for the CPU, or only the GPU may decode.
        """
        only_gpu = self._decoding.mode is DecodeMode.NVDEC
        if not only_gpu:
            self._decoding.rest(self._spec.url, detail)
        if only_gpu or self._spec.playback is Playback.LIVE:
            raise SourceError(SourceFailure.DECODER_LOST, self._spec.label, detail)
