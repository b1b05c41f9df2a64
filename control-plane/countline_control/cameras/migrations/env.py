"""Alembic's entry point for the schema `cameras`."""

from countline_control.cameras.tables import metadata
from countline_control.migration import run

run(metadata)
