"""docker/postgres/databases.sh on a real server, without an engine."""

import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.repository import REPOSITORY

from countline_local.parts.postgres import DATABASES, find_binaries

SCRIPT = REPOSITORY / "docker" / "postgres" / "databases.sh"


def run(server: PostgresServer, secrets: Path) -> None:
    given = psycopg.conninfo.conninfo_to_dict(server.dsn())
    env = {
        "PATH": f"{find_binaries()}:{os.environ['PATH']}",
        "COUNTLINE_SECRETS": str(secrets),
        "PGHOST": str(given["host"]),
        "PGPORT": str(given["port"]),
        "PGPASSWORD": str(given["password"]),
    }
    subprocess.run([str(SCRIPT)], env=env, check=True, timeout=60)


def as_role(server: PostgresServer, name: str) -> str:
    return f"postgresql://{name}:of-{name}@{server.dsn(name).rpartition('@')[2]}"


@pytest.mark.parametrize("before", ["nothing", "databases of an earlier release"])
def test_a_role_does_not_own_its_database(own_postgres: PostgresServer, tmp_path: Path, before: str) -> None:
    with psycopg.connect(own_postgres.dsn(), autocommit=True) as root:
        for name in DATABASES:
            (tmp_path / f"{name}-password").write_text(f"of-{name}\n")
            root.execute(f"ALTER DATABASE {name} OWNER TO {name}".encode())
            if before == "nothing":
                root.execute(f"DROP DATABASE {name}".encode())
                root.execute(f"DROP ROLE {name}".encode())
    for _ in range(2):
        run(own_postgres, tmp_path)
    for name in DATABASES:
        with psycopg.connect(as_role(own_postgres, name), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="must be owner"):
                connection.execute(f"DROP DATABASE {name}".encode())
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(as_role(own_postgres, name), dbname="cameras" if name == "auth" else "auth")
