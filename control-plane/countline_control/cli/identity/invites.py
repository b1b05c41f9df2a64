"""`countline invites`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from countline.v1.auth_pb2 import User
from countline.v1.registration_pb2 import (
    CreateInviteRequest,
    Invite,
    ListInvitesRequest,
    RevokeInviteRequest,
)
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
from countline_common.grpc.client import Client
from countline_common.http.rest_json import to_json
from countline_common.times import from_timestamp, to_datetime, to_timestamp
from countline_control.cli.identity.users import (
    CameraOption,
    RoleOption,
    SiteOption,
    check_scope,
    grant_of,
    held,
    is_scoped,
)

MOST_DAYS: Final = 90.0

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Manage invites, with which people create their own accounts."
)


@app.command("create")
def create(
    role: RoleOption = None,
    site: SiteOption = None,
    camera: CameraOption = None,
    days: Annotated[float, typer.Option(min=0.001, max=MOST_DAYS, help="Days until the invite expires.")] = 7.0,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Create an invite and print its link. It creates one account with the given roles.

    The setting `registration` must be invite or open: countline settings set registration invite

    Example: countline invites create --role operator --site lab --days 2
    """
    until = to_timestamp((datetime.now(UTC) + timedelta(days=days)).timestamp())

    async def question(client: Client) -> tuple[Invite, str]:
        wanted = [grant_of(each, site, camera) for each in role or ["viewer"]]
        for grant in wanted:
            await check_scope(client, grant)
        request = Invite(
            roles=[grant.role for grant in wanted if not is_scoped(grant)],
            grants=[grant for grant in wanted if is_scoped(grant)],
            expires_at=until,
        )
        answer = await client.registration.CreateInvite(CreateInviteRequest(invite=request))
        return answer.invite, client.rest_base_url

    invite, gateway = ask(server, data, question)
    if json:
        print_message(invite)
        return
    say(f"{gateway}/#invite={invite.token}")
    note(f"Good for one account until {_moment(invite)} UTC. The link is not shown again.")


@app.command("list")
def list_(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List the invites that can be used, the newest first. Their links are not shown.

    Example: countline invites list
    """

    async def question(client: Client) -> list[Invite]:
        return list((await client.registration.ListInvites(ListInvitesRequest())).invites)

    invites = ask(server, data, question)
    if json:
        print_json({"invites": [to_json(invite) for invite in invites]})
        return
    rows = [
        (
            invite.invite_id,
            held(User(roles=invite.roles, grants=invite.grants)),
            invite.created_by,
            _moment(invite),
        )
        for invite in invites
    ]
    print_table(("INVITE", "ROLES", "BY", "EXPIRES (UTC)"), rows, "No invites found.")


@app.command("revoke")
def revoke(
    invite_id: Annotated[str, typer.Argument(metavar="INVITE", help="Id of the invite.")],
    yes: YesOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """End an invite.

    Example: countline invites revoke 3f9c2ad0 --yes
    """

    async def question(client: Client) -> None:
        await client.registration.RevokeInvite(RevokeInviteRequest(invite_id=invite_id))

    confirm(f"Revoke invite {invite_id}?", yes=yes, check=lambda: None)
    ask(server, data, question)
    note(f"Revoked invite {invite_id}.")


def _moment(invite: Invite) -> str:
    return f"{to_datetime(from_timestamp(invite.expires_at)):%Y-%m-%d %H:%M}"
