"""The numbers that decide what is counted.

They are published, and hold for every camera and scene: none is set per sequence. Lengths are in heights of the
object's own box, so that a count does not depend on resolution or on how near the camera stands; times are in seconds
of capture time, so that it does not depend on the frame rate.
"""

from typing import Final

ORIGIN_CLEAR_HEIGHTS: Final = 0.15
"""An object comes from the side on which it was seen this far from the line ..."""

ORIGIN_NEAR_HEIGHTS: Final = 0.05
"""... or on which it stayed at least this far from the line ..."""

ORIGIN_STAY_S: Final = 0.5
"""... for this long."""

DESTINATION_CLEAR_HEIGHTS: Final = 0.22
"""An object has passed the line when it is seen this far beyond it; where it goes to is known by distance alone."""

EXCURSION_S: Final = 0.5
"""Going over the line and back within this time counts nothing; a pass is decided this long after the line was
crossed."""

EXCURSION_SAMPLES: Final = 2
"""Nor does an excursion that was observed fewer times than this: one bad box is no visit."""

DECIDE_LATEST_S: Final = 2.5
"""A pass whose object vanished before it could be confirmed is decided after this time, unless the object came back."""

SLOW_PASS_S: Final = 2.0
"""A crossing happened when the path met the line; an object that takes longer than this from the line to clear beyond
it, for it crawls or stands there, crossed this long before it was clear. So what is certain only then is told soon
after it happened, like any other crossing: at most `LATEST_S` later. The price is that the time of so slow a crossing
is one at which the object was still near the line, not the one at which it met it."""

LATEST_S: Final = 3.0
"""No crossing is decided later than this after it happened, in time of running frames; it follows from the others."""

OBJECT_UNSEEN_S: Final = 3.0
"""An id that was unseen for longer than this, in time of running frames, is a new object."""

STALL_S: Final = 1.0
"""A gap between frames counts as running time up to this, or up to two frame periods: a stall of the stream ends
nothing."""

CLOCK_RESET_S: Final = 3.0
"""A frame older than its predecessor is dropped; when it is older by more than this, the camera's clock was set back
and every object ends."""

ZONE_CHANGE_S: Final = 0.5
"""An object is in a zone (or out of it) when it was so for this long without a break ..."""

ZONE_CLEAR_HEIGHTS: Final = 0.1
"""... and at least this far from the outline once meanwhile ..."""

ZONE_CHANGE_NEAR_S: Final = 2.0
"""... or for this long, however near the outline."""

SAME_OBJECT_OVERLAP: Final = 0.8
"""Two boxes with this intersection over union in one frame are one object ..."""

SAME_OBJECT_OTHER_CLASS_OVERLAP: Final = 0.65
"""... and two of different classes with this, since detectors suppress duplicates only within a class ..."""

NESTED_OVERLAP: Final = 0.6
"""... and with this, if the smaller one ..."""

NESTED_SHARE: Final = 0.97
"""... lies in the larger one with this share of its area: a box of the same object, cut short."""

WARM_UP_S: Final = 5.0
"""A version of a model that is to take over a camera, or to be compared with another, first sees its frames for this
long: who is in the picture is known then, and what is undecided is little older than `LATEST_S`."""

HAND_OVER_S: Final = 1.5
"""Around the moment at which one version takes over from another, both count for this long before and after it; what
both have seen is told once. More than `SAME_CROSSING_S`, so that whatever one of them dates on the far side of that
moment, the other still counts."""

SAME_CROSSING_S: Final = 1.0
"""Two versions that see one object cross a line date it by so much apart at most."""

SAME_TRACK_OVERLAP: Final = 0.3
"""Tracks of two versions are one object where their boxes, in one frame, overlap by this intersection over union, and
neither overlaps more with another one."""
