"""Counting of recorded tracks and trajectories, annotated videos, reports."""
