"""Files of passwords and keys: mode 0600, written whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

PASSWORD_BYTES: Final = 18
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600


def new_password() -> str:
    """A random password of 24 characters that need no quoting in an address, a shell or SQL."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


CHANGED: Final = "# The password was changed, so this file no longer holds it. Log in: countline login"
"""Content of a password file whose password is no longer valid. The file stays, or a start would make a wrong one."""


def mark_changed(path: Path) -> None:
    """Replace the password in a file by a remark that it was changed, if the file can be written."""
    with contextlib.suppress(OSError):
        if path.is_file():
            write_secret(path, CHANGED)


def ensure_secret(path: Path, make: Callable[[], str] = new_password) -> str:
    """The secret in a file; it is created if there is none.

    The write is atomic, so a process that is killed here leaves no empty password behind.
    """
    if path.exists():
        return path.read_text().strip()
    value = make()
    write_secret(path, value)
    return value


def write_secret(path: Path, value: str) -> None:
    """Write a secret atomically to a file of mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(fd, "w") as file:
        file.write(value.rstrip("\n") + "\n")
        file.flush()
        os.fsync(fd)
    partial.replace(path)
