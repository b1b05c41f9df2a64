"""Calls of this process to services of ours."""
