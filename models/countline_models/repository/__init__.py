"""Triton model repositories: layout, configuration, writing."""
