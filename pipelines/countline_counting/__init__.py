"""The pure core: tracked objects and geometry in, crossings and visits out. No IO, no wall clock, no logging.

Import from the module that defines a name (`countline_counting.spec`, `countline_counting.counter`). This file imports
nothing, so a room that needs the coverage rule alone loads neither NumPy nor SciPy.

What is a crossing? Distances are in heights of the object's own box, times in seconds of capture time, so that neither
resolution nor frame rate matters. A line seen from its end, and an object that walks to the right:

        comes from here                 the line                  goes to here
    ───────────────────────┬───────────────┼───────────────────┬──────────────────────
       clear of the line   │   near the line: changes nothing  │   clear of the line
                         -0.15             0                 +0.22

1. An object has a side once it was clear of the line, or stayed near it on one side for half a second.
2. It has passed when it is seen clear on the other side and its path met the line on the way. A path is a chain of
   segments, tested exactly. An object that walks round the end of a line changes side and has crossed nothing.
3. The counter holds the pass back for half a second. If the path meets the line again within that time, or after a
   single sight beyond it, both crossings are dropped. They go in pairs, so in - out stays the true change.
4. Then the crossing is certain. The counter emits it once and never withdraws it. A pass whose object vanished at once
   is decided after two and a half seconds. An object that takes longer than two seconds from the line to clear of it
   crossed two seconds before that.
5. The crossing counts if its object is of a class that the line counts, was seen for long enough and has a high enough
   score, where the spec asks for these.

A U-turn is an object that crosses and crosses back (`rule.series`).

So jitter, flicker and a foot over the line count nothing, a fast object needs one sight on either side, a slow one
counts once, and U-turns and loops count as what they are. The numbers are in `rules`.

The way of a frame through the package:

    clock ─ intake ─ (tracking) ─ sightings ─┬─ lines ─┬─ counter ─ events
    frames  masks,                healing,   └─ zones ─┘  one camera
    in order  scores              objects, boxes

Where one version of a model takes over from another, two counters run for some seconds, and `handover` decides which of
their events count. Everything that came near a line and did not cross it has one of the `rule.reasons`; `explain`
records them, with what was measured, for a caller that gives the counter a `Journal`.
"""
