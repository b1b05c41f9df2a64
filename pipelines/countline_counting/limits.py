"""Limits of what one camera may be given. The control-plane refuses what exceeds them, before it stores a camera.

The core counts within any of them; they keep messages, tables and pictures of a sane size.
"""

from typing import Final

from countline_counting.rules import DECIDE_LATEST_S

MAX_LINES: Final = 64
MAX_ZONES: Final = 64
MAX_MASKS: Final = 64
LINE_POINTS: Final = 2
"""Fewest points of a line."""
OUTLINE_POINTS: Final = 3
"""Fewest points of the outline of a zone or mask."""
MAX_POINTS: Final = 100
"""Of one line, zone or mask."""
MAX_CLASSES: Final = 1000
"""Of one line or zone."""
MAX_CLASS_NAME: Final = 128
"""Characters of the name of a class."""
MAX_RATE: Final = 240.0
"""Frames a second that are looked at."""
MAX_TRACK_AGE_S: Final = DECIDE_LATEST_S
"""The greatest `min_track_age_s`. A crossing is decided by then, so the age of its object must be known by then."""
GROUND_POINTS: Final = 4
"""Reference points of a ground plane: exactly so many."""
MAX_GROUND_M: Final = 1e6
"""Greatest distance of a place on the ground from the origin, along either axis."""
