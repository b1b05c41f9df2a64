"""Credentials, created at the first start, each in a file of mode 0600."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from countline_common.access.vocabulary import Permission
from countline_common.grpc.tokens import TokenSigner, generate_key_pair
from countline_common.secrets.master_keys import MASTER_KEY, new_master_key
from countline_common.secrets.secret_files import ensure_secret, write_secret
from countline_common.triton.access import CREDENTIAL

WORKER: Final = "worker-1"
"""Name of this machine's worker."""
WORKER_TOKEN_S: Final = 400 * 86_400.0
"""Each start makes a new token, so this limits how long one run may last."""


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

    @property
    def master_key(self) -> Path:
        """Master keys that encrypt stored secrets, the current one first."""
        return self.folder / MASTER_KEY

    def ensure(self) -> None:
        """Create missing credentials, and a new token for the worker."""
        ensure_secret(self.admin_password)
        ensure_secret(self.master_key, new_master_key)
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
