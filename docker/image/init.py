"""Prepares the volumes: creates missing credentials, copies the shipped models, writes the addresses of the services.

Runs at every `compose up`, before all other services start, as the same unprivileged user. It keeps existing
credentials. All credentials are in one volume that only this program mounts. Each service has its own volume with
copies of the secrets that it needs, so an attacker who controls a worker learns no other service's keys. Every secret
has mode 0600.
"""  # noqa: INP001  (run by path inside the image of the control-plane)

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from countline_common.data.bus_users import (
    API,
    CONTROL,
    EARLIER_USER,
    INGEST,
    USERS,
    WORKER,
    password_file,
    users_block,
)
from countline_common.secrets.secret_files import ensure_secret, write_secret
from countline_control.audit.chain import new_audit_key
from countline_control.audit.setup import AUDIT_KEY
from countline_local.supervision.credentials import Credentials
from countline_local.triton.shipped_models import copy_shipped, find_shipped

DATABASES: Final = ("auth", "cameras", "analytics")
"""Names of databases and of the roles of their services; docker/postgres/databases.sh creates both."""
SUPERUSER: Final = "postgres"
ENDPOINTS: Final = {
    "gateway": "http://api:8080",
    "auth": "127.0.0.1:3001",
    "cameras": "127.0.0.1:8000",
    "workers": "127.0.0.1:8003",
    "models": "127.0.0.1:8005",
}
"""Addresses of the services, for `countline` in the container of the control-plane."""


def main(volumes: Path, postgres: str, nats: str) -> None:
    """Fill the volumes.

    Args:
        volumes: the folder with the mounted volumes.
        postgres: `host:port` of PostgreSQL.
        nats: `host:port` of NATS.
    """
    credentials = Credentials(volumes / "credentials")
    credentials.ensure()
    ensure_secret(credentials.folder / AUDIT_KEY, new_audit_key)
    passwords = {name: ensure_secret(credentials.folder / f"{name}-password") for name in (*DATABASES, SUPERUSER)}
    for service, files in _shares(credentials, passwords, _nats_passwords(credentials), postgres, nats).items():
        for name, value in files.items():
            write_secret(volumes / f"secrets-{service}" / name, value)
    copy_shipped(find_shipped(), volumes / "models" / "repository")
    (volumes / "run" / "endpoints.json").write_text(json.dumps(ENDPOINTS, indent=2) + "\n")


def _nats_passwords(credentials: Credentials) -> dict[str, str]:
    """Return the password of each user of NATS; that of the user of earlier releases only if there is one."""
    passwords = {user.name: ensure_secret(credentials.folder / password_file(user.name)) for user in USERS}
    earlier = credentials.folder / password_file(EARLIER_USER)
    return passwords | ({EARLIER_USER: earlier.read_text().strip()} if earlier.exists() else {})


def _shares(
    credentials: Credentials,
    passwords: Mapping[str, str],
    nats_passwords: Mapping[str, str],
    postgres: str,
    nats: str,
) -> dict[str, dict[str, str]]:
    """Return service → file name → secret: only the secrets that the service needs."""
    dsn = {f"{name}-dsn": f"postgresql://{name}:{passwords[name]}@{postgres}/{name}" for name in DATABASES}
    bus = {user: {"nats-url": f"nats://{user}:{password}@{nats}"} for user, password in nats_passwords.items()}
    public = _read(credentials.token_public_key)
    return {
        "control": {
            **public,
            **_read(
                credentials.token_key,
                credentials.admin_password,
                credentials.triton_secret,
                credentials.master_key,
                credentials.folder / AUDIT_KEY,
            ),
            "auth-dsn": dsn["auth-dsn"],
            "cameras-dsn": dsn["cameras-dsn"],
            **bus[CONTROL],
        },
        "ingest": {"analytics-dsn": dsn["analytics-dsn"], **bus[INGEST]},
        "api": {**public, "analytics-dsn": dsn["analytics-dsn"], **bus[API]},
        "worker": {**_read(credentials.worker_token, credentials.triton_secret), **bus[WORKER]},
        "triton": _read(credentials.triton_secret),
        "nats": {"authorization.conf": users_block(nats_passwords)},
        "audit": {"superuser-dsn": f"postgresql://{SUPERUSER}:{passwords[SUPERUSER]}@{postgres}/auth"},
        "postgres": {f"{name}-password": passwords[name] for name in (*DATABASES, SUPERUSER)},
    }


def _read(*files: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in files}


if __name__ == "__main__":
    main(Path(sys.argv[1]), os.environ["POSTGRES_ADDRESS"], os.environ["NATS_ADDRESS"])
