"""Finds out whether certificate files changed."""

from countline_common.tls.files import TlsFiles

Stamp = tuple[tuple[int, int, int], ...]
"""Time of the last change, inode and size of each file."""


def stamp(files: TlsFiles) -> Stamp:
    """A value that differs after a file changed.

    Raises:
        OSError: a file is missing.
    """
    found = (path.stat() for path in files.paths)
    return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in found)
