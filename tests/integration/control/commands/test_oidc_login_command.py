"""`countline login --oidc`, as a process, with a real identity provider and a person who uses its pages."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from tests.fixtures.analytics.stack import until
from tests.fixtures.control.shell import Shell
from tests.fixtures.oidc.provider import NodeProvider, query_of

LIMIT_S = 60.0


@pytest.fixture
async def control(control_dsn: str, start_control: Callable, tmp_path: Path, identity_provider: NodeProvider) -> Any:
    """All services, with the provider."""
    (tmp_path / "groups.yaml").write_text("groups:\n  - {group: ops, role: operator}\n")
    settings = {**identity_provider.settings(tmp_path), "oidc_groups_file": tmp_path / "groups.yaml"}
    return await start_control(control_dsn, **settings)


@pytest.fixture
def shell(control: Any, tmp_path: Path) -> Shell:
    """A home without a Countline on this machine, so that a command needs a login."""
    shell = Shell(control.plane.addresses, tmp_path)
    del shell.environment["COUNTLINE_DATA"]
    return shell


@asynccontextmanager
async def waiting(shell: Shell, *options: str, **variables: str) -> AsyncIterator[tuple[Any, str]]:
    """A command that waits for the person, and the address that it prints."""
    environment = {**shell.environment, **variables}
    process = await shell.start("login", "--oidc", "--server", shell.server, *options, environment=environment)
    try:
        async with asyncio.timeout(LIMIT_S):
            assert b"Log in at this address" in await process.stderr.readline()
            yield process, (await process.stderr.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def lead_to(address: str, **changes: str) -> tuple[int, str]:
    """Status and text of the page to which the provider sends the browser."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(address.partition("?")[0], params={**query_of(address), **changes}) as response,
    ):
        return response.status, await response.text()


def logins(shell: Shell) -> list[Path]:
    return list(shell.folder.rglob("login-*.json"))


async def test_a_person_logs_in_through_the_provider(shell: Shell, identity_provider: NodeProvider) -> None:
    async with waiting(shell, "--no-browser", "--json") as (process, address):
        leads_to = await identity_provider.redirect(address, "anna~ops")
        callback = urlsplit(leads_to)
        assert (callback.scheme, callback.hostname, callback.path) == ("http", "127.0.0.1", "/callback")
        for state in ("", "x", "é"):
            assert (await lead_to(leads_to, state=state))[0] == 400, "another page does not end the wait"
        status, text = await lead_to(leads_to)
        assert (status, "terminal" in text) == (200, True)
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["username"] == "anna"
    with pytest.raises(aiohttp.ClientConnectorError):
        await lead_to(leads_to)
    (kept,) = logins(shell)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "as anna (role operator:" in await shell.ok("whoami")
    await shell.ok("logout")
    assert logins(shell) == []


async def test_the_browser_is_opened_and_a_person_without_a_role_reads_why(
    shell: Shell, identity_provider: NodeProvider
) -> None:
    browser, opened = shell.folder / "browser", shell.folder / "opened"
    browser.write_text(f'#!/bin/sh\necho of the browser\necho "$1" > {opened}.new\nmv {opened}.new {opened}\n')
    browser.chmod(0o755)
    # A command runs no code of the folder in which it is called.
    (shell.folder / "webbrowser.py").write_text(f"open({str(shell.folder / 'planted')!r}, 'w')\n")
    async with waiting(shell, BROWSER=f"{browser} %s") as (process, address):
        await until(opened.exists)
        assert opened.read_text().strip() == address
        await lead_to(await identity_provider.redirect(address, "eve"))
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert b"error: none of your groups at the identity provider has a role here" in err
    assert logins(shell) == []
    assert not (shell.folder / "planted").exists()


async def test_a_refusal_of_the_provider_ends_the_wait(shell: Shell) -> None:
    async with waiting(shell, "--no-browser") as (process, address):
        asked = query_of(address)
        issuer = f"{urlsplit(address).scheme}://{urlsplit(address).netloc}"
        answer = f"{asked['redirect_uri']}?state={asked['state']}&iss={issuer}&error=access_denied"
        assert (await lead_to(answer))[0] == 200
        _, err = await process.communicate()
    assert (process.returncode, b"refused it (access_denied)" in err) == (1, True)


async def test_the_wait_ends_after_a_time_and_with_ctrl_c(shell: Shell) -> None:
    async with waiting(shell, "--no-browser", "--timeout", "1") as (process, _):
        _, err = await process.communicate()
    assert process.returncode == 1
    assert b"error: the login was not completed within 1 s\nhint: log in again" in err
    async with waiting(shell, "--no-browser") as (process, address):
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")
    with pytest.raises(aiohttp.ClientConnectorError):
        await lead_to(f"{query_of(address)['redirect_uri']}?state=x")
    assert logins(shell) == []


async def test_the_port_can_be_chosen_for_a_provider_that_compares_addresses_exactly(
    shell: Shell, identity_provider: NodeProvider
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = await shell.run("login", "--oidc", "--server", shell.server, "--port", str(port))
        assert (code, out) == (1, "")
        assert f"error: cannot listen on 127.0.0.1:{port}: address already in use\nhint: " in err
    async with waiting(shell, "--no-browser", "--port", str(port)) as (process, address):
        leads_to = await identity_provider.redirect(address, "anna~ops")
        assert leads_to.startswith(f"http://127.0.0.1:{port}/callback?")
        await lead_to(leads_to)
        assert (await process.communicate(), process.returncode)[1] == 0
    code, _, err = await shell.run("login", "--server", shell.server, "--port", str(port))
    assert (code, "error: --port is for --oidc" in err) == (1, True)


async def test_a_password_and_the_provider_exclude_each_other(shell: Shell) -> None:
    for options in (("--username", "vera"), ("--password-stdin",), ("--code", "123456")):
        code, out, err = await shell.run("login", "--oidc", "--server", shell.server, *options)
        assert (code, out, "error: --oidc excludes --username" in err) == (1, "", True)
