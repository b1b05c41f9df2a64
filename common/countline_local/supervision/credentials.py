"""Credentials, created at the first start, each in a file of mode 0600."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from countline_common.access.vocabulary import Permission
from countline_common.grpc.tokens import TokenSigner, generate_key_pair
from countline_common.triton.access import CREDENTIAL

PASSWORD_BYTES: Final = 18
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
WORKER: Final = "worker-1"
"""Name of this machine's worker."""
WORKER_TOKEN_S: Final = 400 * 86_400.0
"""Each start makes a new token, so this limits how long one run may last."""


def new_password() -> str:
    """A random password of 24 characters that need no quoting in an address, a shell or SQL."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


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


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of one machine, as files."""

    folder: Path

    @property
    def admin_password(self) -> Path:
        """Password of the user `admin`."""
        return self.folder / "admin-password"

    @property
    def token_key(self) -> Path:
        """Private Ed25519 key (PEM) that signs access tokens."""
        return self.folder / "token-key.pem"

    @property
    def token_public_key(self) -> Path:
        """Public half of the key (PEM)."""
        return self.folder / "token-key.pub.pem"

    @property
    def worker_token(self) -> Path:
        """Access token of this machine's worker."""
        return self.folder / "worker-token"

    @property
    def triton_secret(self) -> Path:
        """Secret that clients send to Triton to load models and share memory."""
        return self.folder / CREDENTIAL

    def ensure(self) -> None:
        """Create missing credentials, and a new token for the worker."""
        ensure_secret(self.admin_password)
        ensure_secret(self.triton_secret)
        if not self.token_key.exists():
            private, public = generate_key_pair()
            write_secret(self.token_public_key, public.decode())
            write_secret(self.token_key, private.decode())
        write_secret(self.worker_token, self._sign_worker_token())

    def _sign_worker_token(self) -> str:
        signer = TokenSigner.from_file(self.token_key)
        return signer.sign(
            WORKER,
            WORKER,
            roles=("worker",),
            permissions=frozenset({Permission.WORKER_CONNECT, Permission.WORKER_REPORT}),
            lifetime_s=WORKER_TOKEN_S,
        )
