"""`countline auth factor`: the second factor of one's own logins."""

import sys
from typing import Annotated

import segno
import typer

from countline.v1.factor_pb2 import (
    BeginFactorRequest,
    BeginFactorResponse,
    ConfirmFactorRequest,
    ConfirmFactorResponse,
    DisableFactorRequest,
    Factor,
    GetFactorRequest,
    RenewRecoveryCodesRequest,
    RenewRecoveryCodesResponse,
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
    say,
)
from countline_common.errors import InvalidInputError
from countline_common.grpc.client import Client
from countline_common.times import from_timestamp, to_datetime

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Manage your second factor: a code of an app at each login."
)

StdinOption = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
CodeOption = Annotated[
    str | None, typer.Option("--code", help="Code of the present second factor, or a recovery code.")
]


@app.command("status")
def status(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """Show whether your logins ask for a code, and how many recovery codes are left.

    Example: countline auth factor status
    """
    factor = ask(server, data, _factor)
    if json:
        print_message(factor)
        return
    since = f" since {to_datetime(from_timestamp(factor.enabled_at)):%Y-%m-%d}" if factor.enabled else ""
    say(f"second factor: {'on' if factor.enabled else 'off'}{since}")
    say(f"required by a role: {'yes' if factor.required else 'no'}")
    if factor.enabled:
        say(f"recovery codes left: {factor.recovery_codes_left}")


async def _factor(client: Client) -> Factor:
    return (await client.factor.GetFactor(GetFactorRequest())).factor


@app.command("enable")
def enable(
    password_stdin: StdinOption = False,
    code: CodeOption = None,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Set up a second factor, or another one in its place: shows a QR code, asks for a code, prints recovery codes.

    Ends all other sessions. With --password-stdin, standard input has the password in its first line and the new app's
    code in a later one.

    Example: countline auth factor enable
    """
    password = _password(stdin=password_stdin)
    present = _present_code(code, server=server, data=data)

    async def begin(client: Client) -> BeginFactorResponse:
        return await client.factor.BeginFactor(BeginFactorRequest(password=password, code=present))

    begun = ask(server, data, begin)
    if sys.stderr.isatty():
        note("Scan this code with an authenticator app, or type the secret into it:")
        segno.make(begun.otpauth_uri, micro=False).terminal(out=sys.stderr, compact=True)
    note(f"Secret: {begun.secret}")
    note(f"Address for the app: {begun.otpauth_uri}")
    sys.stderr.flush()
    new = _line() if password_stdin else _asked("Code that the app shows")

    async def confirm_(client: Client) -> ConfirmFactorResponse:
        answer = await client.factor.ConfirmFactor(ConfirmFactorRequest(code=new))
        await client.session.renew()  # what the login permits may have changed
        return answer

    answer = ask(server, data, confirm_)
    note("The second factor is on. Each of these recovery codes opens one login without the app. Keep them safe:")
    for each in answer.recovery_codes:
        say(each)


@app.command("recovery-codes")
def recovery_codes(
    password_stdin: StdinOption = False,
    code: CodeOption = None,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Print new recovery codes. Earlier ones end.

    Example: countline auth factor recovery-codes
    """
    password = _password(stdin=password_stdin)
    given = code if code is not None else _asked("Code")

    async def question(client: Client) -> RenewRecoveryCodesResponse:
        return await client.factor.RenewRecoveryCodes(RenewRecoveryCodesRequest(password=password, code=given))

    answer = ask(server, data, question)
    if json:
        print_json({"recovery_codes": list(answer.recovery_codes)})
        return
    for each in answer.recovery_codes:
        say(each)


@app.command("disable")
def disable(
    password_stdin: StdinOption = False,
    code: CodeOption = None,
    yes: YesOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Switch your second factor off. Ends all other sessions.

    Example: countline auth factor disable
    """
    confirm("Switch the second factor off?", yes=yes, check=lambda: None)
    password = _password(stdin=password_stdin)
    given = code if code is not None else _asked("Code")

    async def question(client: Client) -> None:
        await client.factor.DisableFactor(DisableFactorRequest(password=password, code=given))
        await client.session.renew()

    ask(server, data, question)
    note("The second factor is off.")


def _present_code(code: str | None, *, server: ServerOption, data: DataOption) -> str:
    """Return the code of the present second factor; empty if there is none."""
    if code is not None:
        return code
    return _asked("Code of the present second factor") if ask(server, data, _factor).enabled else ""


def _password(*, stdin: bool) -> str:
    return _line() if stdin else _asked("Password", hide=True)


def _line() -> str:
    return sys.stdin.readline().rstrip("\n")


def _asked(what: str, *, hide: bool = False) -> str:
    if not sys.stdin.isatty():
        hint = "pass the password on standard input, --password-stdin, and the code with --code"
        raise InvalidInputError(f"the {what[:1].lower()}{what[1:]} is missing: no terminal to ask for it", hint=hint)
    answer: str = typer.prompt(what, hide_input=hide, err=True)
    return answer
