"""Exact plane geometry, and the ground plane."""
