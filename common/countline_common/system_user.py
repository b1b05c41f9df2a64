"""The unprivileged system user that runs PostgreSQL and Triton when Countline is started by root."""

import os
import pwd
from typing import Final

SYSTEM_USER: Final = "countline"


def system_user() -> pwd.struct_passwd | None:
    """Return the system user, or None if this process is not root or there is no such user."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return None
