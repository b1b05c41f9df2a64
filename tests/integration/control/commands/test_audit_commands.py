"""`countline audit`, as a process: list, show, export, verify and protect."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.fixtures.analytics.stack import until
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.shell import Shell
from tests.fixtures.nats import NatsServer
from tests.fixtures.postgres import PostgresServer


@pytest.fixture
def audit_dsn(postgres: PostgresServer, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """An empty database for its superuser, and the role that owns it, as `countline up` makes them."""
    dsn, role = postgres.create_database(), f"auth_{tmp_path.name[-20:].replace('-', '_')}"
    name = dsn.rpartition("/")[2]
    with psycopg.connect(dsn, autocommit=True) as root:
        root.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role)))
        root.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(role)))
    yield dsn, role
    postgres.drop_database(dsn)
    with psycopg.connect(postgres.dsn(), autocommit=True) as root:
        root.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
async def shell(audit_dsn: tuple[str, str], start_control: Callable, tmp_path: Path, nats_server: NatsServer) -> Shell:
    """A shell beside all services, whose role in PostgreSQL is no superuser."""
    (tmp_path / "first-password").write_text(PASSWORD + "\n")
    dsn, role = audit_dsn
    own = f"postgresql://{role}:x@{dsn.rpartition('@')[2]}"
    control = await start_control(own, admin_password_file=tmp_path / "first-password", nats_url=nats_server.url)
    return Shell(control.plane.addresses, tmp_path)


async def _listed(shell: Shell, *words: str) -> Any:
    return await shell.json("audit", "list", *words)


async def test_rows_are_listed_shown_exported_and_verified(shell: Shell, audit_dsn: tuple[str, str]) -> None:
    await shell.ok("sites", "add", "lab", "--time-zone", "UTC")
    assert (await shell.run("sites", "rm", "ghost", "--yes"))[0] == 1

    async def both() -> bool:
        return len(await _listed(shell, "--resource", "sites/")) == 2

    await until(both, 60.0)
    refused, added = await _listed(shell, "--resource", "sites/")
    assert (added["row"]["resource"], added["row"]["outcome"], refused["row"]["outcome"]) == (
        "sites/lab", "OK", "NOT_FOUND",
    )  # fmt: skip
    assert await _listed(shell, "--outcome", "refused", "--actor", "admin", "--method", "DeleteSite") == [refused]
    assert await _listed(shell, "--on-behalf-of", "admin") == []
    assert await _listed(shell, "--start", "2099-01-01T00:00:00Z") == []
    assert len(await _listed(shell, "--limit", "1")) == 1
    assert "sites/lab" in await shell.ok("audit", "list")
    shown = await shell.ok("audit", "show", str(added["sequence"]))
    assert "admin" in shown
    assert 'time_zone: (none) -> "UTC"' in shown
    lines = [json.loads(line) for line in (await shell.run("audit", "export"))[1].splitlines()]
    assert "PUBLIC KEY" in lines[0]["public_key"]
    assert {added["sequence"], refused["sequence"]} <= {line.get("sequence") for line in lines}
    assert (await shell.json("audit", "verify"))["intact"] is True
    for words in (("show", "99999"), ("list", "--start", "May")):
        code, _, err = await shell.run("audit", *words)
        assert (code, err.startswith("error: "), "hint: " in err) == (1, True, True)
    with psycopg.connect(audit_dsn[0], autocommit=True) as root:
        root.execute("UPDATE audit.audit_logs SET hashed_text = '{}' WHERE sequence = %s", (added["sequence"],))
    code, out, _ = await shell.run("audit", "verify")
    assert (code, f"row {added['sequence']}: changed" in out) == (1, True)


async def test_protect_takes_the_rights_and_rows_are_stored_as_before(
    shell: Shell, audit_dsn: tuple[str, str], tmp_path: Path
) -> None:
    dsn, role = audit_dsn
    assert "countline audit protect" in await shell.ok("audit", "verify")
    file = tmp_path / "superuser-dsn"
    file.write_text(dsn + "\n")
    for wrong in (["--role", "nobody"], ["--role", "postgres"]):
        code, _, err = await shell.run("audit", "protect", "--dsn-file", str(file), *wrong)
        assert (code, "hint: " in err) == (1, True)
    assert role in await shell.ok("audit", "protect", "--dsn-file", str(file), "--role", role)
    found = await shell.json("audit", "verify")
    assert (found["intact"], found["protected"]) == (True, True)
    await shell.ok("sites", "add", "lab", "--time-zone", "UTC")

    async def is_stored() -> bool:
        return len(await _listed(shell, "--resource", "sites/lab")) == 1

    await until(is_stored, 60.0)
    assert (await shell.json("audit", "verify"))["intact"] is True
