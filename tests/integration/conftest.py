"""Fixtures that integration tests of every room share."""

from tests.fixtures.postgres import database, own_postgres, postgres

__all__ = ["database", "own_postgres", "postgres"]
