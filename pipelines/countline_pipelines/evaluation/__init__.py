"""How good is a run? Tracking and counts against the ground truth of MOTChallenge."""
