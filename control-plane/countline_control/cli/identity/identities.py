"""`countline users` identities, link-identity and unlink-identity."""

from typing import Annotated

import typer

from countline.v1.oidc_pb2 import (
    LinkedIdentity,
    LinkIdentityRequest,
    ListIdentitiesRequest,
    UnlinkIdentityRequest,
)
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
from countline_common.errors import ConflictError, NotFoundError
from countline_common.grpc.client import Client
from countline_common.http.rest_json import to_json
from countline_common.times import from_timestamp, to_datetime
from countline_control.cli.identity.accounts import app
from countline_control.cli.identity.users import UserArgument, find_user

__all__ = ["app"]

SubjectArgument = Annotated[str, typer.Argument(help="Id of the person at the identity provider: the claim `sub`.")]


@app.command("identities")
def identities(
    username: UserArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None
) -> None:
    """List the people of the identity provider who log in as a user.

    Example: countline users identities vera
    """

    async def question(client: Client) -> list[LinkedIdentity]:
        return await _identities(client, (await find_user(client, username)).user_id)

    found = ask(server, data, question)
    if json:
        print_json({"identities": [to_json(identity) for identity in found]})
        return
    rows = [
        (
            identity.subject,
            identity.issuer,
            f"{to_datetime(from_timestamp(identity.created_at)):%Y-%m-%d}",
            _last_login(identity),
            identity.identity_id,
        )
        for identity in found
    ]
    nothing = f"No identities of {username} found."
    print_table(("SUBJECT", "PROVIDER", "SINCE (UTC)", "LAST LOGIN (UTC)", "ID"), rows, nothing)


@app.command("link-identity")
def link_identity(
    username: UserArgument,
    subject: SubjectArgument,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Let a person of the identity provider log in as a user.

    You must hold everything that the groups file of the provider can give: each login applies the groups of the person.

    Example: countline users link-identity vera 7f3c1a52-0d4e
    """

    async def question(client: Client) -> LinkedIdentity:
        user = await find_user(client, username)
        request = LinkIdentityRequest(user_id=user.user_id, subject=subject)
        return (await client.oidc.LinkIdentity(request)).identity

    identity = ask(server, data, question)
    print_change(identity, f"Linked {identity.subject} of {identity.issuer} to user {username}.", as_json=json)


@app.command("unlink-identity")
def unlink_identity(
    username: UserArgument,
    subject: Annotated[str, typer.Argument(help="The claim `sub` of the person, or the id of the identity.")],
    yes: YesOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Remove the link between a person of the identity provider and a user. Ends all sessions of the user.

    Example: countline users unlink-identity vera 7f3c1a52-0d4e --yes
    """

    async def linked(client: Client) -> UnlinkIdentityRequest:
        user_id = (await find_user(client, username)).user_id
        matching = [each for each in await _identities(client, user_id) if subject in (each.subject, each.identity_id)]
        if not matching:
            raise NotFoundError(
                f"user {username!r} has no identity {subject!r}",
                hint=f"list the identities: countline users identities {username}",
            )
        if len(matching) > 1:  # one provider was configured after another one
            raise ConflictError(
                f"user {username!r} has an identity {subject!r} at {len(matching)} providers",
                hint=f"give its id: countline users identities {username}",
            )
        return UnlinkIdentityRequest(user_id=user_id, identity_id=matching[0].identity_id)

    async def question(client: Client) -> None:
        await client.oidc.UnlinkIdentity(await linked(client))

    confirm(f"Unlink {subject} from {username}?", yes=yes, check=lambda: ask(server, data, linked))
    ask(server, data, question)
    note(f"Unlinked {subject} from user {username}.")


async def _identities(client: Client, user_id: str) -> list[LinkedIdentity]:
    return list((await client.oidc.ListIdentities(ListIdentitiesRequest(user_id=user_id))).identities)


def _last_login(identity: LinkedIdentity) -> str:
    if not identity.HasField("last_login_at"):
        return "never"
    return f"{to_datetime(from_timestamp(identity.last_login_at)):%Y-%m-%d %H:%M}"
