"""`countline users`."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from countline.v1.auth_pb2 import (
    CreateUserRequest,
    DeleteUserRequest,
    Grant,
    ListUsersRequest,
    UpdateUserRequest,
    User,
)
from countline.v1.cameras_pb2 import GetCameraRequest, GetSiteRequest
from countline_common.cli.completion import complete_camera, complete_role, complete_site, complete_user
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    YesOption,
    ask,
    confirm,
    note,
    print_change,
    print_json,
    print_table,
)
from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.grpc.client import Client
from countline_common.grpc.paging import every_page
from countline_common.http.rest_json import to_json
from countline_common.times import from_timestamp, to_datetime

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Manage users.")


UserArgument = Annotated[str, typer.Argument(help="Name or id of the user.", autocompletion=complete_user)]
_ROLE_HELP = "Role, such as viewer; see: countline roles list. Repeatable."
RoleOption = Annotated[
    list[str] | None, typer.Option(help=_ROLE_HELP, show_default="viewer", autocompletion=complete_role)
]
NewRoleOption = Annotated[
    list[str] | None, typer.Option("--role", help=f"{_ROLE_HELP} Replaces earlier roles.", autocompletion=complete_role)
]
RoleName = typer.Option("--role", help="Role; see: countline roles list.", autocompletion=complete_role)
SiteOption = Annotated[str | None, typer.Option(help="Site that the role covers.", autocompletion=complete_site)]
CameraOption = Annotated[
    list[str] | None, typer.Option(help="Camera that the role covers. Repeatable.", autocompletion=complete_camera)
]
DisplayNameOption = Annotated[str | None, typer.Option("--display-name", help="Name to show.")]
EmailOption = Annotated[str | None, typer.Option(help="Address for mail.")]


@app.command("add")
def add(
    username: Annotated[str, typer.Argument(help="Name to log in with.")],
    role: RoleOption = None,
    password_stdin: Annotated[bool, typer.Option(help="Read the password from standard input.")] = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Create a user. Asks for the password.

    Example: countline users add vera --role viewer
    """
    password = sys.stdin.readline().rstrip("\n") if password_stdin else _new_password()

    async def question(client: Client) -> User:
        request = CreateUserRequest(username=username, password=password, roles=role or ["viewer"])
        return (await client.auth.CreateUser(request)).user

    user = ask(server, data, question)
    print_change(user, f"Created user {user.username} ({', '.join(user.roles)}).", as_json=json)


def _new_password() -> str:
    if not sys.stdin.isatty():
        raise InvalidInputError(
            "the password is missing: no terminal to ask for it",
            hint="pass the password on standard input: --password-stdin",
        )
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


async def _all_users(client: Client) -> list[User]:
    return await every_page(
        lambda token: client.auth.ListUsers(ListUsersRequest(page_token=token)), lambda answer: answer.users
    )


@app.command("list")
def list_(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List users.

    Example: countline users list
    """
    users = ask(server, data, _all_users)
    if json:
        print_json({"users": [to_json(user) for user in users]})
        return
    rows = [
        (
            user.username,
            "disabled" if user.disabled else "service" if user.service_account else "active",
            held(user),
            f"{to_datetime(from_timestamp(user.created_at)):%Y-%m-%d}",
            user.user_id,
        )
        for user in users
    ]
    print_table(("USER", "STATE", "ROLES", "SINCE (UTC)", "ID"), rows, "No users found.")


@app.command("set")
def set_(
    username: UserArgument,
    role: NewRoleOption = None,
    display_name: DisplayNameOption = None,
    email: EmailOption = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Change a user. The given roles replace the earlier ones.

    Example: countline users set vera --role operator
    """
    changes = {"roles": role, "display_name": display_name, "email": email}
    given = [name for name, value in changes.items() if value is not None]
    if not given:
        raise InvalidInputError("there is nothing to change", hint="give --role, --display-name or --email")

    async def question(client: Client) -> User:
        user = User(
            user_id=(await find_user(client, username)).user_id,
            roles=role or (),
            display_name=display_name or "",
            email=email or "",
        )
        request = UpdateUserRequest(user=user, update_mask=FieldMask(paths=given))
        return (await client.auth.UpdateUser(request)).user

    user = ask(server, data, question)
    print_change(user, f"Changed user {user.username} ({held(user)}).", as_json=json)


async def find_user(client: Client, username: str) -> User:
    """Return the user with a name or an id.

    Raises:
        NotFoundError: there is none.
    """
    found = [user for user in await _all_users(client) if username in (user.user_id, user.username)]
    if not found:
        raise NotFoundError(f"there is no user {username!r}", hint="list the users: countline users list")
    return found[0]


@app.command("grant")
def grant(
    username: UserArgument,
    role: Annotated[str, RoleName],
    site: SiteOption = None,
    camera: CameraOption = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Give a user a role over a site, over cameras, or over everything.

    Example: countline users grant vera --role operator --site lab
    """
    wanted = grant_of(role, site, camera)

    async def question(client: Client) -> User:
        await check_scope(client, wanted)
        user = await find_user(client, username)
        if not is_scoped(wanted):
            return await _set(client, user, [*user.roles, role], user.grants)
        return await _set(client, user, user.roles, [*user.grants, wanted])

    user = ask(server, data, question)
    print_change(user, f"User {user.username} now has: {held(user)}.", as_json=json)


@app.command("revoke")
def revoke(
    username: UserArgument,
    role: Annotated[str, RoleName],
    site: SiteOption = None,
    camera: CameraOption = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Take a role from a user that was given over a site, over cameras, or over everything.

    Example: countline users revoke vera --role operator --site lab
    """
    unwanted = grant_of(role, site, camera)

    async def question(client: Client) -> User:
        user = await find_user(client, username)
        roles = [each for each in user.roles if each != role or is_scoped(unwanted)]
        grants = [each for each in user.grants if each != unwanted]
        if len(roles) + len(grants) == len(user.roles) + len(user.grants):
            raise NotFoundError(
                f"user {user.username} does not have the role {role} there", hint=f"the user has: {held(user)}"
            )
        return await _set(client, user, roles, grants)

    user = ask(server, data, question)
    print_change(user, f"User {user.username} now has: {held(user)}.", as_json=json)


def grant_of(role: str, site: str | None, cameras: list[str] | None) -> Grant:
    """Return a role over a site, over cameras, or over everything.

    Raises:
        InvalidInputError: both are given.
    """
    if site and cameras:
        raise InvalidInputError("--site and --camera exclude each other", hint="grant the role twice")
    return Grant(role=role, site_id=site or "", camera_ids=sorted(set(cameras or ())))


def is_scoped(grant: Grant) -> bool:
    """Whether a grant covers less than everything."""
    return bool(grant.site_id or grant.camera_ids)


async def check_scope(client: Client, wanted: Grant) -> None:
    """Raise if the site or a camera does not exist."""
    if wanted.site_id:
        await client.cameras.GetSite(GetSiteRequest(site_id=wanted.site_id))
    for camera_id in wanted.camera_ids:
        await client.cameras.GetCamera(GetCameraRequest(camera_id=camera_id))


async def _set(client: Client, user: User, roles: Sequence[str], grants: Sequence[Grant]) -> User:
    changed = User(user_id=user.user_id, revision=user.revision, roles=roles, grants=grants)
    request = UpdateUserRequest(user=changed, update_mask=FieldMask(paths=["roles", "grants"]))
    return (await client.auth.UpdateUser(request)).user


def held(user: User) -> str:
    """Return the roles of a user, with their scopes."""
    scoped = [
        f"{each.role} over {f'site {each.site_id}' if each.site_id else ' and '.join(each.camera_ids)}"
        for each in user.grants
    ]
    return ", ".join([*user.roles, *scoped]) or "no roles"


@app.command("rm")
def remove(
    username: UserArgument,
    yes: YesOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Delete a user and end all sessions of this user.

    Example: countline users rm vera --yes
    """

    async def question(client: Client) -> None:
        await client.auth.DeleteUser(DeleteUserRequest(user_id=(await find_user(client, username)).user_id))

    confirm(
        f"Delete user {username}?", yes=yes, check=lambda: ask(server, data, lambda client: find_user(client, username))
    )
    ask(server, data, question)
    note(f"Deleted user {username}.")
