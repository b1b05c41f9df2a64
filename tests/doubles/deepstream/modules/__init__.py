"""Stand-ins for Python modules of NVIDIA and of Debian."""
