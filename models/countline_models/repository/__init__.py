"""Triton model repositories: configuration, files, and adding a model."""
