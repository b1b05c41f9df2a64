"""The numbers that decide what is counted.

They are published and hold for every camera and scene; none is set per sequence. Lengths are in heights of the object's
own box, so that a count does not depend on resolution or on the distance of the camera. Times are in seconds of capture
time, so that it does not depend on the frame rate.
"""

from typing import Final

ORIGIN_CLEAR_HEIGHTS: Final = 0.15
"""An object comes from the side on which it was seen this far from the line ..."""

ORIGIN_NEAR_HEIGHTS: Final = 0.05
"""... or on which it stayed at least this far from the line ..."""

ORIGIN_STAY_S: Final = 0.5
"""... for this long ..."""

APPROACH_HEIGHTS: Final = 0.06
"""... or on which it came into view at least this far from the line, if it moved from there over the line ..."""

APPROACH_DEVIATIONS: Final = 5.0
"""... at a speed of this many of its standard errors."""

DESTINATION_CLEAR_HEIGHTS: Final = 0.22
"""An object has passed the line when it is seen this far beyond it. Only distance decides where an object goes to."""

JITTER_EXCURSIONS: Final = 2
"""The boxes of an object jitter if its path went over the line and back this often within `EXCURSION_S` or for fewer
sights than `EXCURSION_SAMPLES`, ..."""

JITTER_HEIGHTS: Final = 0.5
"""... less far than this, ..."""

JITTER_MEMORY_S: Final = 10.0
"""... and if the last such excursion was less than this long ago."""

JITTER_DEVIATIONS: Final = 5.0
"""An object whose boxes jitter has passed only when it is this many standard deviations of its jitter beyond the line.
The mean of sights since it met the line jitters less, by the root of their number."""

EXCURSION_S: Final = 0.5
"""An object that goes over the line and back within this time crosses nothing. A pass is decided this long after the
path met the line."""

EXCURSION_SAMPLES: Final = 2
"""An object that was seen beyond the line fewer times than this before it came back crosses nothing: one bad box is no
crossing."""

DECIDE_LATEST_S: Final = 2.5
"""A pass whose object vanished before it could be confirmed is decided after this time, unless the object came back."""

HINDSIGHT_S: Final = 1.0
"""Where the boxes of a camera are noisy, lines and zones see every object this much later, where the boxes until then
show that it was. A crossing is decided that much later too, but a pass whose object vanished is not."""

LATEST_S: Final = 3.0
"""A crossing is decided at most this long after it happened, in time of running frames, or as soon as the object is
clear beyond the line if that takes longer; where boxes are noisy, lines see that `HINDSIGHT_S` later. It happens when
the path meets the line, also if the object crawls or stands there. This follows from the others."""

NOISY_LATEST_S: Final = 4.25
"""The same where boxes are noisy: `HINDSIGHT_S` and one block of hindsight later."""

OBJECT_UNSEEN_S: Final = 3.0
"""An id that was unseen for longer than this, in time of running frames, is a new object."""

STALL_S: Final = 1.0
"""A gap between frames counts as running time up to this, or up to two frame periods: a stall of the stream ends
nothing."""

CLOCK_RESET_S: Final = 3.0
"""A frame older than the frame before is dropped. If it is older by more than this, the camera's clock was set back and
every object ends."""

TIME_SLACK_S: Final = 0.000001
"""Comparisons of times allow for this, because Unix times in double precision are exact to a quarter of a
microsecond."""

ZONE_CHANGE_S: Final = 0.5
"""An object enters or leaves a zone when it was inside or outside for this long without a break ..."""

ZONE_CLEAR_HEIGHTS: Final = 0.1
"""... and at least this far from the outline once in that time ..."""

ZONE_CHANGE_NEAR_S: Final = 2.0
"""... or for this long, however near the outline."""

SAME_OBJECT_OVERLAP: Final = 0.8
"""Two boxes with this intersection over union in one frame are one object ..."""

SAME_OBJECT_OTHER_CLASS_OVERLAP: Final = 0.65
"""... and two of different classes with this, because detectors suppress duplicates only within a class ..."""

NESTED_OVERLAP: Final = 0.6
"""... and with this, if the smaller box ..."""

NESTED_SHARE: Final = 0.97
"""... has this share of its area in the larger box: it is a box of the same object, cut short."""

SECOND_BOX_OVERLAP: Final = 0.35
"""Two tracks are boxes of one object if they have this intersection over union: half of an object, with the noise of
two boxes, ..."""

SECOND_BOX_SHARE: Final = 0.9
"""... this share of the smaller box lies in the larger one, ..."""

PART_SHAPE: Final = 1.25
"""... their ratios of width to height differ by this factor: a part of an object has another shape than an object, but
a child has that of an adult, give or take a fifth, ..."""

AS_ONE_S: Final = 1.0
"""... and if they stay like this for this long, about two steps of a walker, ..."""

AS_ONE_APART: Final = 0.1
"""... while the smaller box moves by at most this share of the larger one between the halves of that time."""

WARM_UP_S: Final = 5.0
"""A version of a model sees the frames of a camera for this long before it takes over or is compared with another. By
then it knows the objects in the picture, and what it has not decided is little older than `LATEST_S`."""

HAND_OVER_S: Final = 1.5
"""While one version takes over from another, both count for this long before and after the change, and a crossing that
both saw is emitted once. This is longer than `SAME_CROSSING_S`: a crossing that one version dates on the far side of
the change is still counted by the other."""

SAME_CROSSING_S: Final = 1.0
"""Two versions that see one object cross a line date the crossing at most this far apart."""

SAME_TRACK_OVERLAP: Final = 0.3
"""Tracks of two versions are one object if their boxes in one frame have this intersection over union, and neither box
overlaps another one more."""
