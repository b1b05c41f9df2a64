"""`countline keys` and `countline service-accounts`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from countline.v1.auth_pb2 import Grant, User
from countline.v1.keys_pb2 import (
    ApiKey,
    CreateKeyRequest,
    CreateServiceAccountRequest,
    CreateUserKeyRequest,
    ListKeysRequest,
    ListServiceAccountsRequest,
    ListUserKeysRequest,
    RevokeKeyRequest,
    RevokeUserKeyRequest,
    RotateKeyRequest,
    RotateUserKeyRequest,
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
    print_change,
    print_json,
    print_message,
    print_table,
    say,
)
from countline_common.errors import NotFoundError
from countline_common.grpc.client import Client
from countline_common.grpc.paging import every_page
from countline_common.http.rest_json import to_json
from countline_common.times import from_timestamp, to_datetime, to_timestamp
from countline_control.cli.identity.users import (
    CameraOption,
    RoleOption,
    SiteOption,
    check_scope,
    find_user,
    grant_of,
    held,
    is_scoped,
)

MOST_DAYS: Final = 1826.0

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Manage API keys, with which programs call Countline."
)
accounts = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Manage service accounts: users of programs, with keys only."
)

ForOption = Annotated[
    str | None,
    typer.Option("--for", help="Service account that owns the key; needs user:write.", autocompletion=complete_user),
]
OwnerOption = Annotated[
    str | None, typer.Option("--for", help="Another owner; needs user:write.", autocompletion=complete_user)
]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Id of the key; see: countline keys list.")]
DaysOption = Annotated[float, typer.Option(min=0.001, max=MOST_DAYS, help="Days until the key expires.")]
LimitOption = Annotated[
    list[str] | None, typer.Option("--role", help="Role that limits the key; default: all that the owner may do.")
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    role: LimitOption = None,
    site: SiteOption = None,
    camera: CameraOption = None,
    days: DaysOption = 365.0,
    owner: ForOption = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Create an API key and print it. It is shown only once.

    Example: countline keys create "wall display" --role viewer --site lab > key
    """
    wanted = ApiKey(name=name, expires_at=to_timestamp((datetime.now(UTC) + timedelta(days=days)).timestamp()))

    async def question(client: Client) -> ApiKey:
        for each in role or ():
            grant = grant_of(each, site, camera)
            await check_scope(client, grant)
            _limit(wanted, grant)
        if owner is None:
            return (await client.keys.CreateKey(CreateKeyRequest(api_key=wanted))).api_key
        user_id = (await find_user(client, owner)).user_id
        return (await client.keys.CreateUserKey(CreateUserKeyRequest(user_id=user_id, api_key=wanted))).api_key

    if (site or camera) and not role:
        raise typer.BadParameter("--site and --camera need --role", param_hint="--role")
    _print_key(ask(server, data, question), as_json=json)


def _limit(key: ApiKey, grant: Grant) -> None:
    if is_scoped(grant):
        key.grants.append(grant)
    else:
        key.roles.append(grant.role)


def _print_key(key: ApiKey, *, as_json: bool) -> None:
    if as_json:
        print_message(key)
        return
    say(key.key)
    until = f"{to_datetime(from_timestamp(key.expires_at)):%Y-%m-%d}"
    note(f"Key {key.name!r} works until {until}. It is not shown again. Send it as: Authorization: Bearer cl_…")


@app.command("list")
def list_(
    owner: OwnerOption = None, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """List API keys, the newest first. The keys themselves are not shown.

    Example: countline keys list --for ci
    """

    async def question(client: Client) -> list[ApiKey]:
        if owner is None:
            return list((await client.keys.ListKeys(ListKeysRequest())).api_keys)
        user_id = (await find_user(client, owner)).user_id
        return list((await client.keys.ListUserKeys(ListUserKeysRequest(user_id=user_id))).api_keys)

    keys = ask(server, data, question)
    if json:
        print_json({"api_keys": [to_json(key) for key in keys]})
        return
    now = datetime.now(UTC)
    rows = [
        (
            key.key_id,
            key.name,
            _state(key, now),
            _limits(key),
            f"{to_datetime(from_timestamp(key.expires_at)):%Y-%m-%d}",
            f"{to_datetime(from_timestamp(key.last_used_at)):%Y-%m-%d %H:%M}" if key.HasField("last_used_at") else "-",
        )
        for key in keys
    ]
    print_table(("KEY", "NAME", "STATE", "LIMITED TO", "EXPIRES", "LAST USED (UTC)"), rows, "No API keys found.")


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked:
        return "revoked"
    return "active" if to_datetime(from_timestamp(key.expires_at)) > now else "expired"


def _limits(key: ApiKey) -> str:
    return held(User(roles=key.roles, grants=key.grants)) if key.roles or key.grants else "-"


@app.command("revoke")
def revoke(
    key_id: KeyArgument,
    owner: OwnerOption = None,
    yes: YesOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """End an API key. Programs that use it are refused within seconds.

    Example: countline keys revoke 4fT0aZ81qLmN --yes
    """
    key_id = _id_of(key_id)

    async def check(client: Client) -> None:
        if owner is None and key_id not in {
            key.key_id for key in (await client.keys.ListKeys(ListKeysRequest())).api_keys
        }:
            raise NotFoundError(f"there is no key {key_id!r}", hint="list the keys: countline keys list")

    async def question(client: Client) -> None:
        if owner is None:
            await client.keys.RevokeKey(RevokeKeyRequest(key_id=key_id))
            return
        user_id = (await find_user(client, owner)).user_id
        await client.keys.RevokeUserKey(RevokeUserKeyRequest(user_id=user_id, key_id=key_id))

    confirm(f"Revoke key {key_id}?", yes=yes, check=lambda: ask(server, data, check))
    ask(server, data, question)
    note(f"Revoked key {key_id}.")


@app.command("rotate")
def rotate(
    key_id: KeyArgument,
    overlap: Annotated[float, typer.Option(min=0, max=168, help="Hours for which the old key still works.")] = 0.0,
    owner: ForOption = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Replace an API key by a new one with the same roles, and print it.

    Example: countline keys rotate 4fT0aZ81qLmN --overlap 24 > key
    """
    key_id, overlap_s = _id_of(key_id), round(overlap * 3600)

    async def question(client: Client) -> ApiKey:
        if owner is None:
            request = RotateKeyRequest(key_id=key_id, overlap_s=overlap_s)
            return (await client.keys.RotateKey(request)).api_key
        user_id = (await find_user(client, owner)).user_id
        return (
            await client.keys.RotateUserKey(RotateUserKeyRequest(user_id=user_id, key_id=key_id, overlap_s=overlap_s))
        ).api_key

    _print_key(ask(server, data, question), as_json=json)


def _id_of(text: str) -> str:
    """Return the id of a key; people also paste the whole key."""
    return text.removeprefix("cl_").partition("_")[0]


@accounts.command("add")
def add(
    username: Annotated[str, typer.Argument(help="Name of the service account; of a worker, the worker's name.")],
    role: RoleOption = None,
    site: SiteOption = None,
    camera: CameraOption = None,
    with_key: Annotated[bool, typer.Option("--with-key", help="Create a key too, and print it.")] = False,
    days: DaysOption = 365.0,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Create a service account.

    The role `worker` is for workers on other machines, `service` for services in separate processes.

    Example: countline service-accounts add worker-2 --role worker --with-key > worker-key
    """
    until = to_timestamp((datetime.now(UTC) + timedelta(days=days)).timestamp())

    async def question(client: Client) -> tuple[User, ApiKey | None]:
        wanted = [grant_of(each, site, camera) for each in role or ["viewer"]]
        for grant in wanted:
            await check_scope(client, grant)
        request = CreateServiceAccountRequest(
            username=username,
            roles=[grant.role for grant in wanted if not is_scoped(grant)],
            grants=[grant for grant in wanted if is_scoped(grant)],
        )
        user = (await client.keys.CreateServiceAccount(request)).user
        if not with_key:
            return user, None
        key = CreateUserKeyRequest(user_id=user.user_id, api_key=ApiKey(name=username, expires_at=until))
        return user, (await client.keys.CreateUserKey(key)).api_key

    user, key = ask(server, data, question)
    if key is None:
        print_change(user, f"Created service account {user.username} ({held(user)}).", as_json=json)
    elif json:
        print_json({"user": to_json(user), "api_key": to_json(key)})
    else:
        note(f"Created service account {user.username} ({held(user)}).")
        _print_key(key, as_json=False)


@accounts.command("list")
def list_accounts(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List service accounts. `countline users` changes, disables and deletes them.

    Example: countline service-accounts list
    """

    async def question(client: Client) -> list[User]:
        return await every_page(
            lambda token: client.keys.ListServiceAccounts(ListServiceAccountsRequest(page_token=token)),
            lambda answer: answer.users,
        )

    found = ask(server, data, question)
    if json:
        print_json({"users": [to_json(user) for user in found]})
        return
    rows = [(user.username, "disabled" if user.disabled else "active", held(user), user.user_id) for user in found]
    print_table(("ACCOUNT", "STATE", "ROLES", "ID"), rows, "No service accounts found.")
