"""The pure core: tracked objects and geometry in, crossings and visits out. No IO, no clock, no logging.

What is a crossing? Distances are in heights of the object's own box, times in seconds of capture time, so that neither
resolution nor frame rate matters. A line seen from its end, and an object that walks to the right:

        comes from here                 the line                  goes to here
    ───────────────────────┬───────────────┼───────────────────┬──────────────────────
       clear of the line   │   near the line: changes nothing  │   clear of the line
                         -0.15             0                 +0.22

1. It has a side once it was clear of the line (or stayed near it, on one side, for half a second).
2. It has passed when it is seen clear on the other side and its path met the line on the way. A path is a chain of
   segments, tested exactly; who walks round the end changes side and has crossed nothing.
3. The pass is held back for half a second. If the path meets the line again within that time, or after a single sight
   beyond it, both crossings are dropped; since they go in pairs, in - out stays the true change.
4. Then it is certain, is told once, and is never taken back. A pass whose object vanished at once is decided after two
   and a half seconds. Who takes longer than two seconds from the line to clear of it crossed two seconds before that.
5. It counts if its object is of the line's class, was seen for long enough and is sure enough, where that is asked.

A U-turn is an object that crosses and crosses back (`series`).

So jitter, flicker and a foot over the line count nothing, a fast object needs one sight on either side, a slow one
counts once, and U-turns and loops count as what they are. The numbers are in `rules`.

The way of a frame through the package, one module each:

    clock ─ intake ─ (tracking) ─ sightings ─┬─ lines ─┬─ camera ─ events
    frames  masks,                healing,   └─ zones ─┘  one camera's
    in order  scores              objects, boxes          whole

Where one version of a model takes over from another, two counters run for some seconds, and `handover` says which of
their events count.

Everything that came near a line and did not cross it has one of the `reasons`; `explain` writes them down, with what
was measured, for whoever gives the counter a `Journal`.
"""

from countline_counting.counter import CameraCounter, FrameResult
from countline_counting.errors import GeometryError
from countline_counting.events import Crossing, Direction, Event, OccupancySample, Visit
from countline_counting.geometry.ground import GroundPlane
from countline_counting.identity import Identity, event_id
from countline_counting.spec import CountingSpec, Line, Zone
from countline_counting.trajectories.paths import Path, Trajectory

__all__ = [
    "CameraCounter",
    "CountingSpec",
    "Crossing",
    "Direction",
    "Event",
    "FrameResult",
    "GeometryError",
    "GroundPlane",
    "Identity",
    "Line",
    "OccupancySample",
    "Path",
    "Trajectory",
    "Visit",
    "Zone",
    "event_id",
]
