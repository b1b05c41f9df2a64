"""Why a source fails, in words on which a person can act.

FFmpeg has a hundred error numbers, and puts the whole address with its password into its texts. This module turns them
into ten failures, each with a hint; `CountlineError` redacts every address.
"""

import errno
from contextlib import suppress
from enum import StrEnum
from typing import Final

import av.error

from countline_common.errors import BY_CODE, CountlineError


class SourceFailure(StrEnum):
    """Why a source gives no frames; the stable word in `CameraError.code`."""

    UNREACHABLE = "unreachable"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    TIMED_OUT = "timed_out"
    NOT_VIDEO = "not_video"
    CODEC_MISSING = "codec_missing"
    TRUNCATED = "truncated"
    BAD_PICTURE = "bad_picture"
    NO_KEY_FRAME = "no_key_frame"
    DECODER_LOST = "decoder_lost"
    TRANSPORT_REFUSED = "transport_refused"


_STATUS: Final = {
    SourceFailure.UNREACHABLE: "UNAVAILABLE",
    SourceFailure.UNAUTHORIZED: "FAILED_PRECONDITION",
    SourceFailure.NOT_FOUND: "NOT_FOUND",
    SourceFailure.TIMED_OUT: "DEADLINE_EXCEEDED",
    SourceFailure.NOT_VIDEO: "INVALID_ARGUMENT",
    SourceFailure.CODEC_MISSING: "FAILED_PRECONDITION",
    SourceFailure.TRUNCATED: "INVALID_ARGUMENT",
    SourceFailure.BAD_PICTURE: "INVALID_ARGUMENT",
    SourceFailure.NO_KEY_FRAME: "DEADLINE_EXCEEDED",
    SourceFailure.DECODER_LOST: "UNAVAILABLE",
    SourceFailure.TRANSPORT_REFUSED: "FAILED_PRECONDITION",
}

_HINTS: Final = {
    SourceFailure.UNREACHABLE: "check that the camera is on and that host and port are right",
    SourceFailure.UNAUTHORIZED: "put the right user and password into the address: rtsp://USER:PASSWORD@HOST/PATH",
    SourceFailure.NOT_FOUND: "check the path",
    SourceFailure.TIMED_OUT: "check in another player that the camera sends pictures",
    SourceFailure.NOT_VIDEO: "give a video file or stream; `ffprobe` shows what this one contains",
    SourceFailure.CODEC_MISSING: "encode the video as H.264, H.265, VP9 or AV1",
    SourceFailure.TRUNCATED: "copy the file again from the recorder; it was cut off",
    SourceFailure.BAD_PICTURE: "check the settings of the encoder",
    SourceFailure.NO_KEY_FRAME: "set the encoder to send a key frame every few seconds",
    SourceFailure.DECODER_LOST: "check the GPU with `nvidia-smi` and the kernel's log (Xid)",
    SourceFailure.TRANSPORT_REFUSED: "use the other RTSP transport: --transport tcp or --transport udp",
}

CURABLE_BY_WAITING: Final = frozenset(
    {
        SourceFailure.UNREACHABLE,
        SourceFailure.TIMED_OUT,
        SourceFailure.NOT_FOUND,
        SourceFailure.TRUNCATED,
        SourceFailure.NO_KEY_FRAME,
        SourceFailure.DECODER_LOST,
    }
)
"""Failures of a live camera that may pass by themselves soon; the others are retried at long intervals."""


class SourceError(CountlineError):
    """A source cannot be opened or read.

    Args:
        failure: what kind of failure.
        label: the source without its credentials.
        detail: what happened.
        hint: what to do; by default the hint of the failure.
        after_pictures: True if the source was played to the end of its content.
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
        super().__init__(f"{label}: {detail}", hint=_HINTS[failure] if hint is None else hint)
        self.failure = failure
        self.after_pictures = after_pictures
        self.code = _STATUS[failure]


def error_of(code: str, message: str, hint: str) -> CountlineError:
    """Return the error that a camera's fault means to a program; its code is the name of a gRPC status.

    Args:
        code: of the fault: a value of `SourceFailure`, the lower-case code of an error, or a word of a plane.
        message: of the fault.
        hint: of the fault.
    """
    error = BY_CODE.get(code.upper(), CountlineError)(message, hint=hint)
    with suppress(ValueError):
        error.code = _STATUS[SourceFailure(code)]
    return error


def refused(label: str, error: Exception, *, waited_s: float, limit_s: float) -> SourceError:
    """The failure that an error of FFmpeg on opening or reading means.

    Args:
        label: the source without its credentials.
        error: FFmpeg's.
        waited_s: how long the call took. An interrupted call may raise any error, so time decides.
        limit_s: its deadline.
    """
    if waited_s >= limit_s or isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return SourceError(SourceFailure.TIMED_OUT, label, f"no answer within {limit_s:g} s")
    if getattr(error, "errno", 0) == errno.EPROTONOSUPPORT:  # RTSP status 461; FFmpeg has no kind of error for it
        return SourceError(SourceFailure.TRANSPORT_REFUSED, label, "the camera does not offer this RTSP transport")
    for kinds, failure, detail in _MEANINGS:
        if isinstance(error, kinds):
            return SourceError(failure, label, detail)
    return SourceError(SourceFailure.UNREACHABLE, label, f"cannot be read: {_plain(error)}")


_MEANINGS: Final[tuple[tuple[tuple[type[Exception], ...], SourceFailure, str], ...]] = (
    (
        (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError, av.error.PermissionError),
        SourceFailure.UNAUTHORIZED,
        "user or password refused",
    ),
    (
        (av.error.FileNotFoundError, av.error.HTTPNotFoundError),
        SourceFailure.NOT_FOUND,
        "no such file or stream",
    ),
    ((av.error.ProtocolNotFoundError,), SourceFailure.NOT_VIDEO, "unknown kind of address"),
    ((av.error.ConnectionRefusedError,), SourceFailure.UNREACHABLE, "connection refused"),
    ((av.error.EOFError,), SourceFailure.UNREACHABLE, "the stream ended"),
    ((av.error.DecoderNotFoundError,), SourceFailure.CODEC_MISSING, "no decoder for this video here"),
    ((av.error.InvalidDataError,), SourceFailure.NOT_VIDEO, "no readable video stream"),
)


def _plain(error: Exception) -> str:
    """FFmpeg's message without the address, with which `str` of its errors ends."""
    return str(getattr(error, "strerror", None) or type(error).__name__)
