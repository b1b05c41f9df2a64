"""Settings and maintenance: what an administrator changes while the system runs."""
