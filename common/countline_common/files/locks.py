"""Locks between processes, on files."""

import fcntl


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process alone, until it is closed; return False if another one holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
