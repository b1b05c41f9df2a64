"""Alembic's entry point for the schema `auth`."""

from countline_control.auth.tables import metadata
from countline_control.migration import run

run(metadata)
