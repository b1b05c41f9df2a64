"""Commands of administrators: settings and maintenance."""
