"""The pure core: tracked objects and geometry in, crossings and visits out. No IO, no wall clock, no logging.

Import from the module that defines a name (`countline_counting.spec`, `countline_counting.counter`). This file imports
nothing, so a room that needs the coverage rule alone loads neither NumPy nor SciPy.

What is a crossing? Distances are in heights of the object's own box and times in seconds of capture time, so that
neither resolution nor frame rate matters. A line seen from its end, and an object that walks to the right:

        comes from here                 the line                  goes to here
    ───────────────────────┬───────────────┼───────────────────┬──────────────────────
       clear of the line   │   near the line: changes nothing  │   clear of the line
                         -0.15             0                 +0.22

1. An object has a side once it was clear of the line, or stayed near the line on one side for half a second. One that
   came into view just before the line has the side from which its motion leads evenly over the line (`rule/approach`).
2. It has passed when it is seen clear on the other side and its path met the line on the way. If its boxes jitter about
   the line, it is clear only at five standard deviations of this jitter. A path is a chain of segments, tested exactly.
   An object that walks round the end of a line changes sides and crosses nothing.
3. A pass is held back for half a second. If the path meets the line again within that time, or after a single sight
   beyond the line, both crossings are dropped. Dropped crossings go in pairs, so in - out stays the true change.
4. Then the pass is certain. It is emitted once and never withdrawn. If its object vanished at once, the pass is decided
   after two and a half seconds. A crossing is dated when the path met the line, however long the object takes from
   there until it is clear.
5. A pass counts if its object is of the line's class, and was seen for long enough and with a sufficient score, if the
   spec asks for that.

An object that crosses and crosses back makes a U-turn (`series`).

So jitter, flicker and a foot over the line count nothing; a fast object needs one sight on either side; a slow one
counts once; and U-turns and loops count as such. The numbers are in `rules`.

The way of a frame through the package, each arrow from one module to the next:

    objects/clock → objects/intake → tracking/ → objects/sightings ─┬→ rule/lines → rule/crossings ─┬→ events
    frames in       masks, scores,   boxes get   ids healed,        ├→ rule/zones → rule/visits ────┤
    order           duplicates       ids         cut boxes          └→ trajectories/ ───────────────┘

Where boxes are noisy, `objects/hindsight` holds observations back for a second, until later boxes show where objects
were.

`counter` puts them together for one camera. When one version of a model takes over from another, two counters run for
some seconds, and `handover` selects which of their events count. `trials` compares two versions on the same frames.

Everything that comes near a line and does not cross it has one of the `reasons`. A counter with a listener emits facts
about it, and `explain` turns these facts into a journal.
"""
