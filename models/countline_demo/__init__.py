"""Rendered scenes with known truth, and the training of the demo detector on them."""
