"""The demo's commands in the group `countline models`; every module imports its heavy parts when a command runs."""
