"""Paths of objects as polylines with a stated error bound."""
