"""What can be wrong with a source, in words that a person can act on.

FFmpeg answers with a hundred error numbers and puts the whole address, password included, into its texts. Here they
become nine failures, each with its hint, and no address leaves this module without having been redacted.
"""

from enum import StrEnum
from typing import Final

import av.error

from countline_common.errors import CountlineError
from countline_common.logs import redact


class SourceFailure(StrEnum):
    """Why a source gives no frames; the stable word of `CameraError.code`."""

    UNREACHABLE = "unreachable"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    TIMED_OUT = "timed_out"
    NOT_VIDEO = "not_video"
    CODEC_MISSING = "codec_missing"
    TRUNCATED = "truncated"
    BAD_PICTURE = "bad_picture"
    DECODER_LOST = "decoder_lost"


_STATUS: Final = {
    SourceFailure.UNREACHABLE: "UNAVAILABLE",
    SourceFailure.UNAUTHORIZED: "FAILED_PRECONDITION",
    SourceFailure.NOT_FOUND: "NOT_FOUND",
    SourceFailure.TIMED_OUT: "DEADLINE_EXCEEDED",
    SourceFailure.NOT_VIDEO: "INVALID_ARGUMENT",
    SourceFailure.CODEC_MISSING: "FAILED_PRECONDITION",
    SourceFailure.TRUNCATED: "INVALID_ARGUMENT",
    SourceFailure.BAD_PICTURE: "INVALID_ARGUMENT",
    SourceFailure.DECODER_LOST: "UNAVAILABLE",
}

_HINTS: Final = {
    SourceFailure.UNREACHABLE: "see that the camera is switched on and that host and port of the address are right",
    SourceFailure.UNAUTHORIZED: "put the right user and password into the address: rtsp://USER:PASSWORD@HOST/PATH",
    SourceFailure.NOT_FOUND: "correct the path; nothing is there",
    SourceFailure.TIMED_OUT: "see that the camera sends pictures; another player shows whether it does",
    SourceFailure.NOT_VIDEO: "name a video file or stream; `ffprobe` shows what this one holds",
    SourceFailure.CODEC_MISSING: "encode it as H.264, H.265, VP9 or AV1, for which there are decoders here",
    SourceFailure.TRUNCATED: "copy the file again from where it was recorded; it was cut off",
    SourceFailure.BAD_PICTURE: "see the settings of the encoder: it sends pictures without a size",
    SourceFailure.DECODER_LOST: "see what `nvidia-smi` and the kernel's log (Xid) say of the GPU",
}

CURABLE_BY_WAITING: Final = frozenset(
    {
        SourceFailure.UNREACHABLE,
        SourceFailure.TIMED_OUT,
        SourceFailure.NOT_FOUND,
        SourceFailure.TRUNCATED,
        SourceFailure.DECODER_LOST,
    }
)
"""Failures of a live camera that may pass by themselves soon; the others are tried again at long intervals."""


class SourceError(CountlineError):
    """A source cannot be opened or read.

    Args:
        failure: which of the failures it is.
        label: the source as people know it, without credentials.
        detail: what was seen.
        after_pictures: the source was played to the end of what it holds.
    """

    def __init__(
        self,
        failure: SourceFailure,
        label: str,
        detail: str,
        *,
        hint: str | None = None,
        after_pictures: bool = False,
    ) -> None:
        super().__init__(f"{redact(label)}: {redact(detail)}", hint=_HINTS[failure] if hint is None else hint)
        self.failure = failure
        self.after_pictures = after_pictures
        self.code = _STATUS[failure]


def refused(label: str, error: Exception, *, waited_s: float, limit_s: float) -> SourceError:
    """What FFmpeg's error on opening or reading means.

    Args:
        label: the source, redacted.
        error: FFmpeg's.
        waited_s: how long the call took: an interrupted call reports all kinds of errors.
        limit_s: its deadline.
    """
    if waited_s >= limit_s or isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return SourceError(SourceFailure.TIMED_OUT, label, f"no answer within {limit_s:g} s")
    for kinds, failure, detail in _MEANINGS:
        if isinstance(error, kinds):
            return SourceError(failure, label, detail)
    return SourceError(SourceFailure.UNREACHABLE, label, f"cannot be read: {_plain(error)}")


_MEANINGS: Final[tuple[tuple[tuple[type[Exception], ...], SourceFailure, str], ...]] = (
    (
        (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError, av.error.PermissionError),
        SourceFailure.UNAUTHORIZED,
        "user or password were refused",
    ),
    (
        (av.error.FileNotFoundError, av.error.HTTPNotFoundError),
        SourceFailure.NOT_FOUND,
        "there is no such file or stream",
    ),
    ((av.error.IsADirectoryError,), SourceFailure.NOT_VIDEO, "is a folder"),
    ((av.error.ProtocolNotFoundError,), SourceFailure.NOT_VIDEO, "this kind of address is not known"),
    ((av.error.ConnectionRefusedError,), SourceFailure.UNREACHABLE, "nothing listens there"),
    ((av.error.EOFError,), SourceFailure.UNREACHABLE, "the stream ended"),
    ((av.error.DecoderNotFoundError,), SourceFailure.CODEC_MISSING, "there is no decoder for it here"),
    ((av.error.InvalidDataError,), SourceFailure.NOT_VIDEO, "holds no video that can be read"),
)


def _plain(error: Exception) -> str:
    """FFmpeg's words alone: `str` of its errors ends with the address."""
    return str(getattr(error, "strerror", None) or type(error).__name__)
