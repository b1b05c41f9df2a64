"""`countline roles`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from countline.v1.auth_pb2 import (
    CreateRoleRequest,
    DeleteRoleRequest,
    GetRoleRequest,
    Grant,
    ListPermissionsRequest,
    ListRolesRequest,
    Permission,
    Role,
    UpdateRoleRequest,
)
from countline_common.access import vocabulary
from countline_common.cli.completion import complete_role
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
    print_message,
    print_table,
    say,
)
from countline_common.errors import CountlineError, InvalidInputError, NotFoundError
from countline_common.files.lined_yaml import LineProblem
from countline_common.files.text_files import read_text
from countline_common.grpc.client import Client
from countline_common.grpc.errors import translated
from countline_common.grpc.paging import every_page
from countline_common.http.rest_json import to_json
from countline_control.auth.access.role_files import WrittenScope, read_role_file
from countline_control.cli.identity.users import check_scope

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Manage roles: what users may do.")


def _complete_permission(incomplete: str) -> list[str]:
    return sorted(str(name) for name in vocabulary.PEOPLE if name.startswith(incomplete))


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the role.", autocompletion=complete_role)]
PermissionOption = typer.Option(
    "--permission", "-p", help="Permission, such as camera:read. Repeatable.", autocompletion=_complete_permission
)
TitleOption = Annotated[str | None, typer.Option(help="Display name.")]


@app.command("list")
def list_(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List roles.

    Example: countline roles list
    """

    async def question(client: Client) -> list[Role]:
        return await every_page(
            lambda token: client.auth.ListRoles(ListRolesRequest(page_token=token)), lambda answer: answer.roles
        )

    roles = ask(server, data, question)
    if json:
        print_json({"roles": [to_json(role) for role in roles]})
        return
    rows = [(role.name, "built-in" if role.built_in else "custom", _held(role), role.title) for role in roles]
    print_table(("ROLE", "KIND", "PERMISSIONS", "TITLE"), rows, "No roles found.")


def _held(role: Role) -> str:
    """Return the number of permissions, or `all`."""
    return "all" if set(role.permissions) >= vocabulary.PEOPLE else str(len(role.permissions))


@app.command("show")
def show(name: NameArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """Show a role with its permissions.

    Example: countline roles show operator
    """

    async def question(client: Client) -> Role:
        return (await client.auth.GetRole(GetRoleRequest(name=name))).role

    role = ask(server, data, question)
    if json:
        print_message(role)
        return
    say(f"{role.name} ({'built-in' if role.built_in else 'custom'}): {role.title}")
    for permission in role.permissions:
        say(f"  {permission}")


@app.command("permissions")
def permissions(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List the permissions that roles can hold.

    Example: countline roles permissions
    """

    async def question(client: Client) -> list[Permission]:
        return list((await client.auth.ListPermissions(ListPermissionsRequest())).permissions)

    found = ask(server, data, question)
    if json:
        print_json({"permissions": [to_json(permission) for permission in found]})
        return
    rows = [(permission.name, permission.meaning) for permission in found]
    print_table(("PERMISSION", "MEANING"), rows, "No permissions found.")


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    permission: Annotated[list[str], PermissionOption],
    title: TitleOption = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Create a custom role.

    Example: countline roles add auditor -p self:read -p audit:read
    """

    async def question(client: Client) -> Role:
        role = Role(name=name, title=title or "", permissions=permission)
        return (await client.auth.CreateRole(CreateRoleRequest(role=role))).role

    role = ask(server, data, question)
    print_change(role, f"Created role {role.name} ({', '.join(role.permissions)}).", as_json=json)


@app.command("validate")
def validate(
    file: Annotated[Path, typer.Argument(help="File of roles: YAML or JSON.")],
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Check a file of roles, and print each problem with its line. Exits with 1 if there is one.

    Asks the server only if the file names sites or cameras.

    Example: countline roles validate roles.yaml
    """
    found = read_role_file(read_text(file))
    problems = list(found.problems)
    try:
        if found.scopes:
            problems += ask(server, data, lambda client: _missing_places(client, found.scopes))
    except CountlineError:  # the server is away: the problems of the file itself are known all the same
        if problems:
            _print_problems(file, problems, as_json=json)
        raise
    if problems or json:
        _print_problems(file, problems, as_json=json)
    if problems:
        raise typer.Exit(1)
    if not json:
        note(f"{file} is valid; roles: {', '.join(sorted(role.name for role in found.roles))}.")


def _print_problems(file: Path, problems: Sequence[LineProblem], *, as_json: bool) -> None:
    ordered = sorted(problems, key=lambda problem: problem.line)
    if as_json:
        print_json({"valid": not ordered, "problems": [asdict(problem) for problem in ordered]})
        return
    for problem in ordered:
        say(f"{file}:{problem.line}: {problem.message}")


async def _missing_places(client: Client, scopes: Sequence[WrittenScope]) -> list[LineProblem]:
    """Return a problem for each site or camera that does not exist."""
    problems = []
    for written in scopes:
        try:
            with translated(client.endpoints.cameras):
                await check_scope(
                    client, Grant(site_id=written.scope.site_id, camera_ids=sorted(written.scope.camera_ids))
                )
        except NotFoundError as error:
            problems.append(LineProblem(written.line, error.message))
    return problems


@app.command("set")
def set_(
    name: NameArgument,
    permission: Annotated[list[str] | None, PermissionOption] = None,
    title: TitleOption = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Change a custom role. The given permissions replace the earlier ones.

    Example: countline roles set auditor -p self:read -p audit:read -p user:read
    """
    paths = [field for field, value in (("permissions", permission), ("title", title)) if value is not None]
    if not paths:
        raise InvalidInputError("there is nothing to change", hint="give --permission or --title")
    role = Role(name=name, title=title or "", permissions=permission or ())
    request = UpdateRoleRequest(role=role, update_mask=FieldMask(paths=paths))

    async def question(client: Client) -> Role:
        return (await client.auth.UpdateRole(request)).role

    changed = ask(server, data, question)
    print_change(changed, f"Changed role {changed.name} ({', '.join(changed.permissions)}).", as_json=json)


@app.command("rm")
def remove(
    name: NameArgument,
    yes: YesOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Delete a custom role that no user holds.

    Example: countline roles rm auditor --yes
    """

    async def read(client: Client) -> None:
        await client.auth.GetRole(GetRoleRequest(name=name))

    async def question(client: Client) -> None:
        await client.auth.DeleteRole(DeleteRoleRequest(name=name))

    confirm(f"Delete role {name}?", yes=yes, check=lambda: ask(server, data, read))
    ask(server, data, question)
    note(f"Deleted role {name}.")
