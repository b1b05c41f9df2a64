"""Commands of an identity provider: `countline users identities` and its siblings, against a running service."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.shell import Shell

ISSUER = "https://id.example.org"
SUBJECT = "7f3c [b]1a52"


@pytest.fixture
async def control(control_dsn: str, start_control: Callable, tmp_path: Path) -> Any:
    """All services, with a provider. Links need no answer of the provider."""
    password = tmp_path / "first-password"
    password.write_text(PASSWORD + "\n")
    settings = {"oidc_issuer": ISSUER, "oidc_client_id": "countline", "admin_password_file": password}
    return await start_control(control_dsn, **settings)


@pytest.fixture
def shell(control: Any, tmp_path: Path) -> Shell:
    return Shell(control.plane.addresses, tmp_path)


async def test_identities_are_linked_listed_and_unlinked(shell: Shell) -> None:
    await shell.ok("users", "add", "vera", "--role", "viewer", "--password-stdin", stdin="a long password\n")
    assert "No identities of vera found." in await shell.ok("users", "identities", "vera")
    linked = await shell.json("users", "link-identity", "vera", SUBJECT)
    assert (linked["subject"], linked["issuer"]) == (SUBJECT, ISSUER)
    text = await shell.ok("users", "link-identity", "vera", "second")
    assert text == f"Linked second of {ISSUER} to user vera.\n"
    listed = (await shell.json("users", "identities", "vera"))["identities"]
    assert [each["subject"] for each in listed] == [SUBJECT, "second"]
    table = await shell.ok("users", "identities", "vera")
    assert all(word in table for word in (SUBJECT, ISSUER, "never", linked["identity_id"]))

    code, out, err = await shell.run("users", "unlink-identity", "vera", SUBJECT, stdin="n\n")
    assert (code, out, f"Unlink {SUBJECT} from vera?" in err) == (1, "", True)
    assert await shell.ok("users", "unlink-identity", "vera", SUBJECT, "--yes") == (
        f"Unlinked {SUBJECT} from user vera.\n"
    )
    await shell.ok("users", "unlink-identity", "vera", listed[1]["identity_id"], "--yes")
    assert (await shell.json("users", "identities", "vera"))["identities"] == []


async def test_an_identity_that_cannot_be_linked_or_unlinked_is_an_error_with_a_hint(shell: Shell) -> None:
    for name in ("vera", "ann"):
        await shell.ok("users", "add", name, "--role", "viewer", "--password-stdin", stdin="a long password\n")
    await shell.ok("users", "link-identity", "vera", SUBJECT)
    for arguments, problem, hint in (
        (("identities", "nobody"), "there is no user 'nobody'", "countline users list"),
        (("link-identity", "ann", SUBJECT), "is linked to a user", "countline users unlink-identity USER SUBJECT"),
        (("link-identity", "ann", ""), "the identity cannot be linked", ""),
        (("unlink-identity", "ann", SUBJECT), "user 'ann' has no identity", "countline users identities ann"),
        (("unlink-identity", "vera", "x", "--yes"), "user 'vera' has no identity 'x'", "countline users identities"),
    ):
        code, out, err = await shell.run("users", *arguments)
        assert (code, out) == (1, ""), arguments
        assert problem in err, err
        assert hint in err, err
