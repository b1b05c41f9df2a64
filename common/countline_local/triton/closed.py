"""Runs a program that is closed to other users of the machine: `python -I -S closed.py FOLDER PROGRAM ARGUMENT...`.

Shared memory: Triton's Python backend makes its segments with boost, which sets their mode to 0644 with fchmod,
whatever the umask is. Frames pass through them. This program sets the umask to 077 and installs a seccomp filter that
skips fchmod.

Arguments: every user can read the arguments of every process (`ps`), and Triton takes its secret only as an argument.
This program receives the secret in the environment, which only its own user can read. It replaces itself by PROGRAM
with `***` in the arguments. A helper process stops PROGRAM before its first instruction (ptrace) and lets the entry of
its argument list point to a text in the environment. So no list of processes contains the secret at any time.

FOLDER becomes the working folder. It uses the standard library only, so that it starts within some hundredths of a
second.
"""

import ctypes
import os
import platform
import signal
import struct
import sys
from typing import Final

SECRET_VARIABLE: Final = "COUNTLINE_SECRET_ARGUMENT"  # noqa: S105  (a name)
PLACEHOLDER: Final = "=***"
"""Ending of the arguments that end with the secret."""
PREFIX: Final = "COUNTLINE_ARGUMENT_"
"""Names of the environment variables with whole arguments; the argument's index follows."""
SHOWN_WARNING: Final = (
    "warning: every user of this machine can read Triton's secret in the list of processes: the kernel or the "
    "container allows no ptrace"
)
POINTER: Final = struct.Struct("P")
STACK_START: Final = 25
"""Index of `startstack`, the address of the argument count, among the fields of /proc/PID/stat behind the name."""
PTRACE_CONT, PTRACE_DETACH, PTRACE_SEIZE = 7, 17, 0x4206
PTRACE_O_TRACEEXEC: Final = 0x10
PTRACE_EVENT_EXEC: Final = 4
PR_SET_PTRACER: Final = 0x59616D61
LONGEST_STACK_BYTES: Final = 1 << 20
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


def run_hidden(program: str, arguments: list[str], secret: str) -> None:
    """Replace this process by a program; each argument that ends in `=***` ends in the secret instead.

    Where the kernel refuses the helper, the secret is visible, and a warning says so.
    """
    environment = {name: value for name, value in os.environ.items() if name != SECRET_VARIABLE}
    whole = [f"{each[:-3]}{secret}" if each.endswith(PLACEHOLDER) else each for each in arguments]
    if whole != arguments and _watched_by_helper():
        hidden = {f"{PREFIX}{i}": whole[i] for i, each in enumerate(arguments) if whole[i] != each}
        os.execve(program, arguments, {**environment, **hidden})  # noqa: S606  (no shell is wanted)
    if whole != arguments:
        sys.stderr.write(f"{SHOWN_WARNING}\n")
        sys.stderr.flush()
    os.execve(program, whole, environment)  # noqa: S606


def _watched_by_helper() -> bool:
    """Start the helper; returns whether it will change the arguments of the next program of this process."""
    from_helper, to_parent = os.pipe()
    from_parent, to_helper = os.pipe()
    main = os.getpid()
    middle = os.fork()
    if middle == 0:  # the helper is no child of the program, which would not wait for its end
        if os.fork() == 0:
            os.close(to_helper)
            _help(main, from_parent, to_parent)
        os._exit(0)
    os.waitpid(middle, 0)
    os.close(to_parent)
    helper = os.read(from_helper, 20)
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(int(helper or b"0")), 0, 0, 0)  # for Yama
    os.write(to_helper, b"!")
    answer = os.read(from_helper, 1)
    for descriptor in (from_helper, from_parent, to_helper):
        os.close(descriptor)
    return answer == b"!"


def _help(main: int, from_parent: int, to_parent: int) -> None:
    """The helper: attach, wait for the new program, and change its arguments."""
    try:
        os.write(to_parent, str(os.getpid()).encode())
        os.read(from_parent, 1)
        _ptrace(PTRACE_SEIZE, main, PTRACE_O_TRACEEXEC)
        os.write(to_parent, b"!")
        while os.WIFSTOPPED(status := os.waitpid(main, 0)[1]):
            if status >> 8 == signal.SIGTRAP | PTRACE_EVENT_EXEC << 8:
                _point_into_environment(main)
                _ptrace(PTRACE_DETACH, main, 0)
                break
            _ptrace(PTRACE_CONT, main, os.WSTOPSIG(status))
    finally:
        os._exit(0)  # the kernel detaches


def _ptrace(request: int, process: int, data: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, process, None, data) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def _point_into_environment(process: int) -> None:
    """Let the arguments of a program that has not begun point to their whole texts in its environment."""
    with open(f"/proc/{process}/stat") as file:  # noqa: PTH123  (pathlib doubles the time to start)
        start = int(file.read().rpartition(")")[2].split()[STACK_START])
    with open(f"/proc/{process}/mem", "r+b", buffering=0) as memory:  # noqa: PTH123
        memory.seek(start)
        stack = memory.read(LONGEST_STACK_BYTES)  # it ends at the end of the stack
        words = memoryview(stack[: len(stack) // POINTER.size * POINTER.size]).cast("P")
        count = words[0]
        place = count + 2  # behind the count, the arguments and a null
        while (text := words[place]) != 0:
            name, _, number = stack[text - start : stack.index(b"=", text - start)].rpartition(b"_")
            if name + b"_" == PREFIX.encode():
                memory.seek(start + (1 + int(number)) * POINTER.size)
                memory.write(POINTER.pack(text + stack.index(b"=", text - start) - (text - start) + 1))
            place += 1


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # Triton's call of a shell fails where it is ignored
    os.umask(0o077)
    try:
        skip_fchmod()
    except OSError as error:
        sys.stderr.write(f"warning: other users may read frames in /dev/shm: {error}\n")
    os.chdir(sys.argv[1])
    run_hidden(sys.argv[2], sys.argv[2:], os.environ.get(SECRET_VARIABLE, ""))
