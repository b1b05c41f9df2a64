"""`countline auth`."""

from typing import Annotated

import typer

from countline.v1.auth_pb2 import CheckAccessRequest, CheckAccessResponse
from countline_common.access.vocabulary import PEOPLE
from countline_common.cli.completion import complete_camera, complete_site, complete_user
from countline_common.cli.tools import DataOption, JsonOption, ServerOption, ask, print_message, say
from countline_common.grpc.client import Client
from countline_control.cli.identity import factor
from countline_control.cli.identity.users import find_user

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Explain who may do what, and manage your second factor."
)
app.add_typer(factor.app, name="factor")


def _complete_permission(incomplete: str) -> list[str]:
    return sorted(str(name) for name in PEOPLE if name.startswith(incomplete))


@app.callback()
def _group() -> None:
    """Explain who may do what, and manage your second factor."""


@app.command("can")
def can(
    username: Annotated[str, typer.Argument(help="Name or id of the user.", autocompletion=complete_user)],
    permission: Annotated[str, typer.Argument(help="Such as camera:write.", autocompletion=_complete_permission)],
    site: Annotated[str | None, typer.Option(help="Site of the resource.", autocompletion=complete_site)] = None,
    camera: Annotated[str | None, typer.Option(help="Camera.", autocompletion=complete_camera)] = None,
    why: Annotated[bool, typer.Option("--why", help="Print the reasons too.")] = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Check whether a user may do something. Prints yes or no; exits with 1 for no.

    Example: countline auth can vera camera:write --site lab --why
    """

    async def question(client: Client) -> CheckAccessResponse:
        request = CheckAccessRequest(
            user_id=(await find_user(client, username)).user_id,
            permission=permission,
            site_id=site or "",
            camera_id=camera or "",
        )
        return await client.auth.CheckAccess(request)

    answer = ask(server, data, question)
    if json:
        print_message(answer)
    else:
        say("yes" if answer.allowed else "no")
        for reason in answer.reasons if why else ():
            say(f"  {reason}")
    if not answer.allowed:
        raise typer.Exit(1)
