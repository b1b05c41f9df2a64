"""The unprivileged system user that PostgreSQL and Triton run as when Countline runs as root."""

import pwd
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from countline_common.errors import UnavailableError
from countline_common.system_user import SYSTEM_USER


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """The user of a part's processes, if it is another one than that of this process."""

    uid: int
    gid: int
    search_past_modes: bool
    """Whether a folder above the files that the part needs is closed to that user."""

    def prefix(self) -> list[str]:
        """The command to put before another one, so that it runs as this user."""
        # keep: a change of user would make the kernel forget that this process is to die with its parent.
        command = ["setpriv", "--pdeathsig=keep", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        if self.search_past_modes:
            # no_setuid_fixup: access(2), by which PostgreSQL looks for its own files, honours the capability only then.
            command += ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_read_search"]
            command += ["--ambient-caps=+dac_read_search"]
        return [*command, "--"]


def process_user(*paths: Path) -> ProcessUser:
    """The system user, created if it does not exist. Only for root.

    Args:
        paths: data and programs, which the user must reach.

    Raises:
        UnavailableError: the user cannot be created.
    """
    user = _ensure_system_user()
    reachable = all(is_reachable(path, user.pw_uid, user.pw_gid) for path in paths)
    return ProcessUser(user.pw_uid, user.pw_gid, search_past_modes=not reachable)


def is_reachable(path: Path, uid: int, gid: int) -> bool:
    """Whether a user of one group may search every folder above a path."""
    return all(_may_search(folder, uid, gid) for folder in path.resolve().parents if folder.exists())


def _may_search(folder: Path, uid: int, gid: int) -> bool:
    status = folder.stat()
    if status.st_uid == uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid == gid:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)


def _ensure_system_user() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--no-create-home", "--home-dir=/nonexistent", "--shell=/usr/sbin/nologin"]
    problem = ""
    for _ in range(5):  # useradd locks /etc/passwd and does not wait, so a second start at the same time fails
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            problem = _try([*command, SYSTEM_USER])
            time.sleep(0.1)
    raise UnavailableError(
        f"PostgreSQL and Triton do not run as root, and the system user {SYSTEM_USER!r} cannot be created: {problem}",
        hint=f"create it with `useradd --system {SYSTEM_USER}`, or run countline as an ordinary user",
    )


def _try(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    return done.stderr.strip()
