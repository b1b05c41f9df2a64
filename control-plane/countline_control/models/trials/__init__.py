"""Trials: two versions of a model on the same frames."""
