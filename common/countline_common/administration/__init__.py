"""Settings that an administrator changes while the system runs, and maintenance, as every part follows them."""
