"""The commands of `countline models`; every module imports its heavy parts when a command runs."""
