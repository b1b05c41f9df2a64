"""The duration that the header of an ASF file (`.asf`, `.wmv`) states.

FFmpeg reports it only if the file has the size that its header states. So it reports none of a file that was cut off.
"""

import struct
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Final

_HEADER_BYTES: Final = 64 * 1024
"""The object with the properties is one of the first."""
_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FIELDS: Final = struct.Struct("<40xQ8xQI")
"""Behind the object's size: duration with the preroll in 100 ns, preroll in ms, flags."""
_OBJECT_SIZE_BYTES: Final = 8
_IS_BROADCAST: Final = 1
"""The flag of a file whose recorder stated no duration."""


def asf_duration_s(path: Path) -> Fraction | None:
    """Return the duration that an ASF file states, in seconds; None if it states none or cannot be read."""
    with suppress(OSError, struct.error), path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        place = header.find(_PROPERTIES)
        if place >= 0:
            ticks, preroll_ms, flags = _FIELDS.unpack_from(header, place + len(_PROPERTIES) + _OBJECT_SIZE_BYTES)
            duration_s = Fraction(ticks, 10_000_000) - Fraction(preroll_ms, 1000)
            return duration_s if duration_s > 0 and not flags & _IS_BROADCAST else None
    return None
