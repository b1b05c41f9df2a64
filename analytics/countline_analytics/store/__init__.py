"""The database of analytics: schema and migrations, queries, rollups."""
