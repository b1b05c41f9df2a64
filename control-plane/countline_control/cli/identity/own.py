"""`countline password`, `countline profile` and `countline sessions`: the user's own account."""

import sys
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from countline.v1.auth_pb2 import (
    ChangePasswordRequest,
    EndOwnSessionRequest,
    EndUserSessionRequest,
    GetCurrentUserRequest,
    ListOwnSessionsRequest,
    ListUserSessionsRequest,
    LogoutEverywhereRequest,
    LogoutUserRequest,
    Session,
    UpdateCurrentUserRequest,
    User,
)
from countline_common.cli.completion import complete_user
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    YesOption,
    ask,
    confirm,
    note,
    print_json,
    print_message,
    print_table,
    say,
)
from countline_common.errors import InvalidInputError
from countline_common.grpc.client import Client
from countline_common.http.rest_json import to_json
from countline_common.times import from_timestamp, to_datetime
from countline_control.cli.identity.users import find_user, held

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List and end sessions.")

UserOption = Annotated[
    str | None, typer.Option("--user", help="Another user; needs user:write.", autocompletion=complete_user)
]


def password(
    password_stdin: Annotated[
        bool, typer.Option(help="Read the current and the new password from standard input, one a line.")
    ] = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Change one's own password. Ends all other sessions.

    Example: countline password
    """
    current, new = _from_stdin() if password_stdin else _asked()

    async def question(client: Client) -> None:
        await client.auth.ChangePassword(ChangePasswordRequest(current_password=current, new_password=new))
        await client.session.renew()

    ask(server, data, question)
    note("Changed the password.")


def _from_stdin() -> tuple[str, str]:
    lines = [line.rstrip("\n") for line in sys.stdin.readlines()]
    if len(lines) != 2:
        raise InvalidInputError("standard input must have two lines", hint="write the current, then the new password")
    return lines[0], lines[1]


def _asked() -> tuple[str, str]:
    if not sys.stdin.isatty():
        hint = "pass the passwords on standard input: --password-stdin"
        raise InvalidInputError("the password is missing: no terminal to ask for it", hint=hint)
    current: str = typer.prompt("Current password", hide_input=True, err=True)
    new: str = typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    return current, new


def profile(
    display_name: Annotated[str | None, typer.Option("--display-name", help="Name to show.")] = None,
    email: Annotated[str | None, typer.Option(help="Address for mail.")] = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Show one's own profile, or change it.

    Example: countline profile --display-name "Vera B."
    """
    changes = {"display_name": display_name, "email": email}
    given = [name for name, value in changes.items() if value is not None]

    async def question(client: Client) -> User:
        if not given:
            return (await client.auth.GetCurrentUser(GetCurrentUserRequest())).user
        user = User(display_name=display_name or "", email=email or "")
        request = UpdateCurrentUserRequest(user=user, update_mask=FieldMask(paths=given))
        return (await client.auth.UpdateCurrentUser(request)).user

    user = ask(server, data, question)
    if json:
        print_message(user)
        return
    for what, value in (
        ("user", user.username),
        ("name", user.display_name),
        ("email", user.email),
        ("roles", held(user)),
    ):
        say(f"{what}: {value or '-'}")


@app.command("list")
def list_(
    user: UserOption = None, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """List open sessions.

    Example: countline sessions list --user vera
    """

    async def question(client: Client) -> list[Session]:
        if user is None:
            return list((await client.auth.ListOwnSessions(ListOwnSessionsRequest())).sessions)
        request = ListUserSessionsRequest(user_id=(await find_user(client, user)).user_id)
        return list((await client.auth.ListUserSessions(request)).sessions)

    sessions = ask(server, data, question)
    if json:
        print_json({"sessions": [to_json(session) for session in sessions]})
        return
    rows = [
        (
            session.session_id + (" (this one)" if session.current else ""),
            f"{to_datetime(from_timestamp(session.created_at)):%Y-%m-%d %H:%M}",
            f"{to_datetime(from_timestamp(session.last_used_at)):%Y-%m-%d %H:%M}",
            session.address or "-",
            session.client or "-",
        )
        for session in sessions
    ]
    print_table(("SESSION", "SINCE (UTC)", "LAST USED (UTC)", "ADDRESS", "CLIENT"), rows, "No open sessions.")


@app.command("end")
def end(
    session_id: Annotated[str | None, typer.Argument(metavar="SESSION", help="Id of the session.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="End all sessions, also the current one.")] = False,
    user: UserOption = None,
    yes: YesOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """End a session, or all of them.

    Example: countline sessions end --all --user vera --yes
    """
    if (session_id is None) != everything:
        raise InvalidInputError("name one session, or give --all", hint="list the sessions: countline sessions list")

    async def question(client: Client) -> None:
        if user is None and session_id:
            await client.auth.EndOwnSession(EndOwnSessionRequest(session_id=session_id))
        elif user is None:
            await client.auth.LogoutEverywhere(LogoutEverywhereRequest())
        else:
            user_id = (await find_user(client, user)).user_id
            if session_id:
                await client.auth.EndUserSession(EndUserSessionRequest(user_id=user_id, session_id=session_id))
            else:
                await client.auth.LogoutUser(LogoutUserRequest(user_id=user_id))

    confirm("End all sessions?" if everything else f"End session {session_id}?", yes=yes, check=lambda: None)
    ask(server, data, question)
    note("Ended all sessions." if everything else f"Ended session {session_id}.")
