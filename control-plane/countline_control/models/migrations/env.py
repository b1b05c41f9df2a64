"""Alembic's entry point for the schema `models`."""

from countline_control.migration import run
from countline_control.models.tables import metadata

run(metadata)
