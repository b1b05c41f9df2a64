"""Logins as files of mode 0600, one per server."""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import platformdirs

from countline_common.files.locks import try_lock

RENEWED_BEFORE_S: Final = 60.0
"""A token with less time left is renewed first."""
LOCK_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Login:
    """Tokens of one login; times in Unix seconds."""

    username: str
    access_token: str
    access_expires_at: float
    refresh_token: str
    refresh_expires_at: float
    made_with: str = ""
    """Hash of the password if it was read from a data folder; another password ends the login."""

    def is_fresh(self, now: float) -> bool:
        """Whether the access token is valid for another `RENEWED_BEFORE_S`."""
        return now < self.access_expires_at - RENEWED_BEFORE_S


class LoginFile:
    """The file of a login. Several processes may use it at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Login | None:
        """The stored login; None if there is no readable one."""
        try:
            return Login(**json.loads(self.path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, login: Login) -> None:
        """Replace the stored login atomically: another process reads the old or the new one."""
        _write_private(self.path, json.dumps(asdict(login)))

    def delete(self) -> None:
        """Delete the stored login."""
        self.path.unlink(missing_ok=True)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Lock the file, so that two processes do not renew one login at once; wait `LOCK_TIMEOUT_S` at most."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        try:
            while not try_lock(descriptor) and time.monotonic() < deadline:  # noqa: ASYNC110  (held by another process)
                await asyncio.sleep(0.02)
            yield
        finally:
            os.close(descriptor)


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


class Profiles:
    """Logins by server, in the user's configuration folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or platformdirs.user_config_path("countline", appauthor=False)

    def login_file(self, server: str, user: str = "") -> LoginFile:
        """The file of the login at a server; of a user whom a context names, one of its own."""
        of = f"{server} {user}" if user else server
        return LoginFile(self.folder / f"login-{hashlib.sha256(of.encode()).hexdigest()[:12]}.json")

    @property
    def current(self) -> str:
        """The server of the last login; empty if there is none."""
        try:
            return (self.folder / "server").read_text().strip()
        except OSError:
            return ""

    def set_current(self, server: str) -> None:
        """Make a server the default of later commands; empty for none."""
        _write_private(self.folder / "server", server)
