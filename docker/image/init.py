"""Makes what a fresh set of volumes lacks: credentials, the shipped models, where the services are.

Runs to its end before anything else starts, at every `compose up`, as the same unprivileged user as everything else. It
keeps what is there. All credentials lie in one volume that nothing but this program mounts; each service has a volume
of its own with copies of those that it needs, so a worker that is broken into knows no key but its own. Every file has
mode 0600.
"""  # noqa: INP001  (run by path inside the image of the control-plane)

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from countline_local.parts.shipped_models import copy_shipped, find_shipped
from countline_local.supervision.credentials import Credentials, ensure_secret, write_secret

DATABASES: Final = ("auth", "cameras", "analytics")
"""Each a database and the role that owns it; docker/postgres/databases.sh makes them."""
SUPERUSER: Final = "postgres"
NATS_USER: Final = "countline"
ENDPOINTS: Final = {
    "gateway": "http://api:8080",
    "auth": "127.0.0.1:3001",
    "cameras": "127.0.0.1:8000",
    "workers": "127.0.0.1:8003",
    "models": "127.0.0.1:8005",
}
"""As `countline` finds them in the container of the control-plane."""


def main(volumes: Path, postgres: str, nats: str) -> None:
    """Fill the volumes.

    Args:
        volumes: the folder that they are mounted in.
        postgres: `host:port`.
        nats: `host:port`.
    """
    credentials = Credentials(volumes / "credentials")
    credentials.ensure()
    passwords = {
        name: ensure_secret(credentials.folder / f"{name}-password") for name in (*DATABASES, SUPERUSER, "nats")
    }
    for service, files in _shares(credentials, passwords, postgres, nats).items():
        for name, value in files.items():
            write_secret(volumes / f"secrets-{service}" / name, value)
    copy_shipped(find_shipped(), volumes / "models" / "repository")
    (volumes / "run" / "endpoints.json").write_text(json.dumps(ENDPOINTS, indent=2) + "\n")


def _shares(
    credentials: Credentials, passwords: Mapping[str, str], postgres: str, nats: str
) -> dict[str, dict[str, str]]:
    """By service, the secrets it may know, by name of file."""
    dsn = {f"{name}-dsn": f"postgresql://{name}:{passwords[name]}@{postgres}/{name}" for name in DATABASES}
    bus = {"nats-url": f"nats://{NATS_USER}:{passwords['nats']}@{nats}"}
    public = _read(credentials.token_public_key)
    return {
        "control": {
            **public,
            **_read(credentials.token_key, credentials.admin_password),
            "auth-dsn": dsn["auth-dsn"],
            "cameras-dsn": dsn["cameras-dsn"],
            **bus,
        },
        "analytics": {**public, "analytics-dsn": dsn["analytics-dsn"], **bus},
        "worker": {**_read(credentials.worker_token), **bus},
        "nats": {"authorization.conf": f"user: {NATS_USER}\npassword: {json.dumps(passwords['nats'])}"},
        "postgres": {f"{name}-password": passwords[name] for name in (*DATABASES, SUPERUSER)},
    }


def _read(*files: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in files}


if __name__ == "__main__":
    main(Path(sys.argv[1]), os.environ["POSTGRES_ADDRESS"], os.environ["NATS_ADDRESS"])
