"""Whether a source gives pictures in time.

Decoding starts at a key frame; cameras that save bandwidth send one every 10 to 20 seconds.
"""

from typing import Final

from countline_pipelines.sources.errors import SourceError, SourceFailure
from countline_pipelines.sources.spec import SourceSpec
from countline_pipelines.sources.warnings import SourceWarnings, WarningCode

_MOST_BROKEN_PACKETS: Final = 300
"""After this many packets of a stream in a row without a picture, none is expected."""
KEY_FRAME_WITHIN_S: Final = 30.0
"""How long a stream may send no key frame after it was opened."""
_SAY_AFTER_S: Final = 2.0
"""A wait for the first key frame that takes longer is reported."""
KEY_FRAME_HINT: Final = "set the encoder to send a key frame every few seconds"


class PictureWatch:
    """Raises an error if packets come and give no pictures.

    Args:
        spec: the source.
        warnings: gets a warning while the first key frame is late.
    """

    def __init__(self, spec: SourceSpec, warnings: SourceWarnings) -> None:
        self._spec = spec
        self._warnings = warnings
        self._without_picture = 0
        self._has_picture = False
        self.waited_s = 0.0
        """How long the reader waited for packets since the last picture; first, since it was opened."""

    @property
    def is_hopeless(self) -> bool:
        """Whether so many packets in a row gave no picture that none is expected."""
        return self._without_picture > _MOST_BROKEN_PACKETS

    def picture(self) -> None:
        """A packet gave a picture."""
        self._without_picture, self.waited_s, self._has_picture = 0, 0.0, True
        self._warnings.clear(WarningCode.NO_KEY_FRAME)

    def no_picture(self) -> None:
        """A packet gave no picture."""
        self._without_picture += 1

    def check(self) -> None:
        """Report that the first key frame is late.

        Raises:
            SourceError: a stream sent no picture for too long.
        """
        label, limit_s = self._spec.label, KEY_FRAME_WITHIN_S
        if not self._spec.is_network:
            return
        if self.is_hopeless and self._has_picture:
            raise SourceError(SourceFailure.BAD_PICTURE, label, "no packet can be decoded")
        if self.waited_s < _SAY_AFTER_S:
            return
        if self.waited_s < limit_s:
            if not self._has_picture:
                message = f"{label}: waits for the first key frame, for at most {limit_s:g} s"
                self._warnings.put(WarningCode.NO_KEY_FRAME, message, KEY_FRAME_HINT)
        elif self._has_picture:
            raise SourceError(SourceFailure.TIMED_OUT, label, f"no picture for {limit_s:g} s, though data arrives")
        else:
            raise SourceError(SourceFailure.NO_KEY_FRAME, label, f"no key frame within {limit_s:g} s")
