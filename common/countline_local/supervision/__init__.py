"""Starts parts, watches them, restarts them, and ends them together."""
