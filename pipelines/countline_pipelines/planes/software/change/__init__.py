"""Changing the model of a running camera without losing a frame."""
