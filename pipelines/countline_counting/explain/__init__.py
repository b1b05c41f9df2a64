"""Explains each crossing and each near-crossing that did not count."""
