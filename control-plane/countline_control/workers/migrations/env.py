"""Alembic's entry point for the schema `workers`."""

from countline_control.migration import run
from countline_control.workers.tables import metadata

run(metadata)
