"""The `countline models` group; every module here imports its heavy parts when a command runs."""
