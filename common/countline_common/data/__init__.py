"""Connections to the bus and to PostgreSQL."""
