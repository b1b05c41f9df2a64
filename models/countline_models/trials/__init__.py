"""Compares a new version with the live one: statistics and chart of shadow and canary trials."""
