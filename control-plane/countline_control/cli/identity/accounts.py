"""`countline users` disable, enable, unlock, reset-password and reset-factor."""

from countline.v1.auth_pb2 import (
    DisableUserRequest,
    EnableUserRequest,
    ResetPasswordRequest,
    ResetPasswordResponse,
    UnlockUserRequest,
    User,
)
from countline.v1.factor_pb2 import ResetFactorRequest
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    YesOption,
    ask,
    confirm,
    note,
    print_change,
    print_message,
    say,
)
from countline_common.grpc.client import Client
from countline_common.times import from_timestamp, to_datetime
from countline_control.cli.identity.users import UserArgument, app, find_user

__all__ = ["app"]


@app.command("disable")
def disable(
    username: UserArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """End all sessions of a user, who cannot log in until enabled again.

    Example: countline users disable vera
    """

    async def question(client: Client) -> User:
        request = DisableUserRequest(user_id=(await find_user(client, username)).user_id)
        return (await client.auth.DisableUser(request)).user

    user = ask(server, data, question)
    print_change(user, f"Disabled user {user.username}.", as_json=json)


@app.command("enable")
def enable(
    username: UserArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Let a disabled user log in again.

    Example: countline users enable vera
    """

    async def question(client: Client) -> User:
        request = EnableUserRequest(user_id=(await find_user(client, username)).user_id)
        return (await client.auth.EnableUser(request)).user

    user = ask(server, data, question)
    print_change(user, f"Enabled user {user.username}.", as_json=json)


@app.command("unlock")
def unlock(
    username: UserArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """Forget the wrong passwords of a user, who then need not wait.

    Example: countline users unlock vera
    """

    async def question(client: Client) -> User:
        request = UnlockUserRequest(user_id=(await find_user(client, username)).user_id)
        return (await client.auth.UnlockUser(request)).user

    user = ask(server, data, question)
    print_change(user, f"Unlocked user {user.username}.", as_json=json)


@app.command("reset-password")
def reset_password(
    username: UserArgument,
    yes: YesOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Print a one-time password for a user. Ends all sessions of the user.

    Example: countline users reset-password vera --yes
    """

    async def question(client: Client) -> ResetPasswordResponse:
        request = ResetPasswordRequest(user_id=(await find_user(client, username)).user_id)
        return await client.auth.ResetPassword(request)

    confirm(
        f"Reset the password of {username}?",
        yes=yes,
        check=lambda: ask(server, data, lambda client: find_user(client, username)),
    )
    answer = ask(server, data, question)
    if json:
        print_message(answer)
        return
    say(answer.password)
    until = f"{to_datetime(from_timestamp(answer.expires_at)):%Y-%m-%d %H:%M}"
    note(f"Good for one login of {username} until {until} UTC. The user then has to choose another one.")


@app.command("reset-factor")
def reset_factor(
    username: UserArgument,
    yes: YesOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Switch off the second factor of a user who has lost it. Ends all sessions of the user.

    Example: countline users reset-factor vera --yes
    """

    async def question(client: Client) -> User:
        request = ResetFactorRequest(user_id=(await find_user(client, username)).user_id)
        return (await client.factor.ResetFactor(request)).user

    confirm(
        f"Reset the second factor of {username}?",
        yes=yes,
        check=lambda: ask(server, data, lambda client: find_user(client, username)),
    )
    user = ask(server, data, question)
    print_change(user, f"Reset the second factor of {user.username}.", as_json=json)
