"""Removes a secret from the arguments of a running process, where every user of the machine can read it (`ps`).

Triton takes its secret only as an argument. It copies its arguments while it starts, so its parent overwrites them in
its memory afterwards.
"""

from pathlib import Path
from typing import Final

MASK: Final = b"*"
SHOWN_WARNING: Final = (
    "warning: every user of this machine can read Triton's secret in the list of processes: the kernel refuses to "
    "overwrite it (CAP_SYS_PTRACE)"
)
_ARG_START: Final = 45
"""Index of `arg_start` among the fields of /proc/PID/stat that follow the command's name; `arg_end` is the next."""


def hide_in_arguments(pid: int, secret: str) -> bool:
    """Overwrite a secret in the arguments of a child; returns whether no argument contains it any more.

    The kernel refuses this for a process of another user without CAP_SYS_PTRACE, and in some containers.
    """
    folder = Path(f"/proc/{pid}")
    try:
        # The name, in brackets, may itself contain blanks and brackets.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
        with (folder / "mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            arguments = memory.read(end - start)
            wanted = secret.encode()
            memory.seek(start)
            memory.write(arguments.replace(wanted, MASK * len(wanted)))
    except (OSError, ValueError, IndexError):
        return False
    return secret.encode() not in (folder / "cmdline").read_bytes()
