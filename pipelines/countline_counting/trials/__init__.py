"""Two versions of a model on the same frames: what each of them counts, crossing by crossing. Pure.

comparison.py  matches the crossings of both in time, and adds them up by spans
"""

from countline_counting.trials.comparison import Comparison, Role, Tally, TrialSpan

__all__ = ["Comparison", "Role", "Tally", "TrialSpan"]
