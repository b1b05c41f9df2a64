"""Why each crossing counted, and why each near-crossing did not.

    CameraCounter ── facts ──▶ Explainer ── candidates ──▶ Journal

An `Explainer` that listens to a `CameraCounter` turns its facts into one `Candidate` for everything that could be taken
for a crossing: every meeting of an object's path with a line (as many as exact geometry finds), every touch without a
meeting, and every way past a line's end within a height of it. Each candidate has one outcome, a crossing or a
`Reason`, with the gates that it was measured against. Boxes that are left out before there are objects (masked,
duplicate, with a score too low, not confirmed) are followed too, so that everything they would have crossed has a
reason.

Counting imports nothing from here.
"""

from countline_counting.explain.explainer import Explainer
from countline_counting.explain.journal import Candidate, Gate, Journal, PathPoint

__all__ = ["Candidate", "Explainer", "Gate", "Journal", "PathPoint"]
