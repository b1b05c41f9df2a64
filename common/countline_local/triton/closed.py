"""Runs a program whose shared memory is closed to other users: `python -I -S closed.py PROGRAM ARGUMENT...`.

Triton's Python backend makes its segments with boost, which sets their mode to 0644 with fchmod, whatever the umask
is. Frames pass through them. This program sets the umask to 077 and installs a seccomp filter that skips fchmod, and
then becomes PROGRAM. It uses the standard library only, so that it starts within some hundredths of a second.
"""

import ctypes
import os
import platform
import struct
import sys
from typing import Final

PR_SET_SECCOMP: Final = 22
PR_SET_NO_NEW_PRIVS: Final = 38
SECCOMP_MODE_FILTER: Final = 2
SECCOMP_RET_ALLOW: Final = 0x7FFF0000
SECCOMP_RET_ERRNO: Final = 0x00050000
"""With the number 0: the call does nothing and reports success."""
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER_OFFSET, ARCHITECTURE_OFFSET = 0, 4
FCHMOD: Final = {"x86_64": (0xC000003E, 91), "aarch64": (0xC00000B7, 52)}
"""Audit number of the architecture and the number of fchmod on it."""


def skip_fchmod() -> None:
    """Let fchmod do nothing in this process and its children, for good.

    Raises:
        OSError: the kernel or the container allows no filter, or the architecture is unknown.
    """
    if platform.machine() not in FCHMOD:
        raise OSError(f"the architecture {platform.machine()} is unknown")
    architecture, number = FCHMOD[platform.machine()]
    steps = [
        (LOAD_WORD, 0, 0, ARCHITECTURE_OFFSET),
        (JUMP_IF_EQUAL, 0, 3, architecture),
        (LOAD_WORD, 0, 0, NUMBER_OFFSET),
        (JUMP_IF_EQUAL, 0, 1, number),
        (RETURN, 0, 0, SECCOMP_RET_ERRNO),
        (RETURN, 0, 0, SECCOMP_RET_ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    os.umask(0o077)
    try:
        skip_fchmod()
    except OSError as error:
        sys.stderr.write(f"warning: other users may read frames in /dev/shm: {error}\n")
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606  (no shell is wanted)
