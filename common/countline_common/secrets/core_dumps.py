"""Core dumps stay off: the memory of a process holds keys, passwords and tokens.

The command `countline` sets the limit before it does anything else. Child processes inherit it: all parts of
`countline up`, with PostgreSQL, NATS and Triton.
"""

import resource
from typing import Final

LIMIT_BYTES: Final = 1
"""Linux writes no file below the size of a page. It ignores a limit of 0 where `core_pattern` names a program, but
starts no program at a limit of 1 (`fs/coredump.c`)."""


def forbid_core_dumps() -> None:
    """Forbid core dumps of this process and of the processes that it starts; a limit of 0 stays as it is."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    limit = 0 if hard == 0 else LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
