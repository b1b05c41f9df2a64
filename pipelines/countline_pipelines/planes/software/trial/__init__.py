"""A second model on the same frames, compared."""
