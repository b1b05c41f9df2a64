"""`countline login`, `logout` and `whoami`."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

import typer

from countline.v1.auth_pb2 import GetCurrentUserRequest, GetCurrentUserResponse, LoginChallenge, User
from countline.v1.factor_pb2 import FinishLoginResponse
from countline_common.access.vocabulary import PEOPLE
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, ask, note, print_change, print_message
from countline_common.contexts.store import ContextStore, default_context, explicit_context
from countline_common.errors import InvalidInputError, UnauthenticatedError
from countline_common.grpc.client import Client, connect
from countline_common.grpc.discovery import ServerProfile, discover
from countline_common.grpc.endpoints import Endpoints
from countline_common.grpc.logins import Profiles
from countline_control.cli.identity.users import held

CODE_ATTEMPTS: Final = 3
FEW_CODES: Final = 3
"""So few recovery codes are worth a warning."""
LONGEST_OIDC_S: Final = 600
"""As long as auth accepts the answer of the provider."""


def login(
    server: ServerOption = None,
    username: Annotated[str | None, typer.Option("--username", "-u", help="User name; asked for if missing.")] = None,
    password_stdin: Annotated[bool, typer.Option(help="Read the password from standard input.")] = False,
    code: Annotated[
        str | None, typer.Option(help="Code of the second factor, or a recovery code; asked for if needed.")
    ] = None,
    oidc: Annotated[
        bool, typer.Option("--oidc", help="Log in through the identity provider, in a browser on this machine.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="With --oidc: open the browser, or only print the address.")
    ] = True,
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, help="With --oidc: port for the provider's answer; 0 for any free port."
        ),
    ] = 0,
    timeout_s: Annotated[
        float,
        typer.Option("--timeout", min=1, max=LONGEST_OIDC_S, metavar="SECONDS", help="With --oidc: time to log in."),
    ] = 300,
    json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Log in to a server. Later commands use this server. In a context, log in to the server of the context.

    Example: countline login --server counts.example.com --username vera
    """
    target = _login_target(server, data)
    if oidc:
        if username is not None or password_stdin or code is not None:
            raise InvalidInputError(
                "--oidc excludes --username, --password-stdin and --code",
                hint="the identity provider asks for the name and the password on its page",
            )
        user = asyncio.run(_log_in_by_browser(target, port, timeout_s, opens=browser))
    elif port:
        raise InvalidInputError("--port is for --oidc", hint="log in with --oidc, or leave out --port")
    else:
        user = _log_in_by_password(target, username, code, stdin=password_stdin)
    if not target.context:
        # Later commands use this server, and no context that was in use before.
        Profiles().set_current(target.server)
        ContextStore().use("")
    where = f"{target.server}, context {target.context}," if target.context else target.server
    print_change(user, f"Logged in to {where} as {user.username} ({held(user)}).", as_json=json)
    if user.must_change_password:
        note("Choose a password now: countline password")
    elif user.must_set_up_second_factor:
        note("Your role requires a second factor. Set it up now: countline auth factor enable")


def _log_in_by_password(target: ServerProfile, username: str | None, code: str | None, *, stdin: bool) -> User:
    if target.user and username not in {None, target.user}:
        raise InvalidInputError(
            f"context {target.context!r} logs in as {target.user}, and not as {username}",
            hint="leave out --username, or add a context for the other user: countline context add",
        )
    name = username or target.user or _prompt("User name", "give --username and --password-stdin")
    password = sys.stdin.readline().rstrip("\n") if stdin else _password()
    user = asyncio.run(_log_in(target, name, password))
    return _finished(target, user, code) if isinstance(user, LoginChallenge) else user


async def _log_in_by_browser(target: ServerProfile, port: int, limit_s: float, *, opens: bool) -> User:
    """Log in on the pages of the identity provider, which sends the browser to a port of this machine."""
    from countline_control.cli.identity.loopback import LoopbackReceiver, open_browser

    async with connect(target) as client, LoopbackReceiver.listening(port) as receiver:
        started = await client.session.start_oidc_login(receiver.redirect_uri)
        note(f"Log in at this address, in a browser on this machine:\n{started.authorization_url}")
        if opens:
            open_browser(started.authorization_url)
        (state,) = parse_qs(urlsplit(started.authorization_url).query)["state"]
        answer = await receiver.answer(state, limit_s)
        answer.login = started.login
        return await client.session.finish_oidc_login(answer)


def _login_target(server: str | None, data: Path | None) -> ServerProfile:
    """Return where to log in. A Countline on this machine is named by its endpoints, as a remote server is."""
    profiles = Profiles()
    found = discover(server, data, profiles)
    if found.server:
        return found
    if found.context:
        raise InvalidInputError(
            f"context {found.context!r} is a data folder of this machine, so its commands need no login",
            hint="to log in as another user, name the folder: countline login --data FOLDER",
        )
    endpoints = found.endpoints
    named = f"auth={endpoints.auth},cameras={endpoints.cameras},workers={endpoints.workers},gateway={endpoints.gateway}"
    named += f",models={endpoints.models}" if endpoints.models else ""
    return ServerProfile(Endpoints.parse(named), profiles.login_file(named), named)


def _password() -> str:
    return _prompt("Password", "pass the password on standard input: --password-stdin", hide=True)


def _prompt(what: str, hint: str, *, hide: bool = False) -> str:
    if not sys.stdin.isatty():
        raise InvalidInputError(f"the {what.lower()} is missing: no terminal to ask for it", hint=hint)
    answer: str = typer.prompt(what, hide_input=hide, err=True)
    return answer


async def _log_in(target: ServerProfile, username: str, password: str) -> User | LoginChallenge:
    async with connect(target) as client:
        return await client.session.log_in(username, password)


def _finished(target: ServerProfile, challenge: LoginChallenge, code: str | None) -> User:
    """Complete a login that asks for a code. Someone who types may mistype."""
    left = CODE_ATTEMPTS if code is None else 1
    while True:
        left -= 1
        given = code if code is not None else _prompt("Code", "give --code")
        try:
            answer = asyncio.run(_finish(target, challenge, given))
        except UnauthenticatedError as error:
            if not left:
                raise
            note(f"{error.message[:1].upper()}{error.message[1:]}.")
        else:
            if answer.recovery_codes_left <= FEW_CODES:
                note(f"{answer.recovery_codes_left} recovery codes are left: countline auth factor recovery-codes")
            return answer.user


async def _finish(target: ServerProfile, challenge: LoginChallenge, code: str) -> FinishLoginResponse:
    async with connect(target) as client:
        return await client.session.finish_login(challenge, code)


def logout(server: ServerOption = None) -> None:
    """Log out of a server.

    Example: countline logout
    """
    profiles = Profiles()
    target = _logout_target(server, profiles)
    if target is None:
        note("Not logged in.")
        return
    try:
        asyncio.run(_log_out(target))
    finally:
        # Even if the server is away: the stored login must go.
        target.login_file.delete()
        if not target.context and profiles.current == target.server:
            profiles.set_current("")
    note(f"Logged out of {target.server}.")


def _logout_target(server: str | None, profiles: Profiles) -> ServerProfile | None:
    """Return where to log out: the named server, that of the context, or that of the last login; None for none."""
    store = ContextStore(profiles.folder)
    if server is None and (explicit_context(store) or default_context(store)):
        found = discover(None, None, profiles)
        return found if found.server else None
    named = server or profiles.current
    return ServerProfile(Endpoints.parse(named), profiles.login_file(named), named) if named else None


async def _log_out(target: ServerProfile) -> None:
    async with connect(target) as client:
        await client.session.log_out()


def whoami(server: ServerOption = None, data: DataOption = None, json: JsonOption = False) -> None:
    """Show the current login and its permissions.

    Example: countline whoami
    """

    async def question(client: Client) -> tuple[GetCurrentUserResponse, str]:
        return await client.auth.GetCurrentUser(GetCurrentUserRequest()), client.endpoints.auth

    answer, address = ask(server, data, question)
    if json:
        print_message(answer)
        return
    permissions = "all permissions" if set(answer.permissions) >= PEOPLE else ", ".join(answer.permissions)
    roles = "role" if len(answer.user.roles) + len(answer.user.grants) == 1 else "roles"
    name = f"{answer.actor_name}, acting for {answer.user.username}" if answer.actor_name else answer.user.username
    note(f"Logged in to {address} as {name} ({roles} {held(answer.user)}: {permissions}).")
