"""`countline settings`."""

from typing import Annotated, Final

import typer

from countline.v1 import administration_pb2 as pb
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    ask,
    print_change,
    print_message,
    print_table,
    say,
)
from countline_common.grpc.client import Client
from countline_common.http.rest_json import enum_word
from countline_common.times import from_timestamp, to_datetime

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Show and change settings while the system runs (system:admin)."
)
NameArgument = Annotated[str, typer.Argument(help="Setting, such as rate_limit.user.")]
_SOURCES: Final = pb.SettingSource.DESCRIPTOR


@app.command("list")
def list_settings(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """List the settings with value, default and source.

    Example: countline settings list
    """

    async def question(client: Client) -> pb.ListSettingsResponse:
        return await client.administration.ListSettings(pb.ListSettingsRequest())

    response = ask(server, data, question)
    if json:
        print_message(response)
        return
    rows = [(each.name, each.value, each.default, _source(each), each.description) for each in response.settings]
    print_table(("SETTING", "VALUE", "DEFAULT", "SOURCE", "DESCRIPTION"), rows, "No settings found.")


@app.command("get")
def get(name: NameArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """Show a setting: what it accepts, where its value comes from, and when a change acts.

    Example: countline settings get session.days
    """

    async def question(client: Client) -> pb.GetSettingResponse:
        return await client.administration.GetSetting(pb.GetSettingRequest(name=name))

    setting = ask(server, data, question).setting
    if json:
        print_message(setting)
        return
    zero = ", or 0" if setting.zero_accepted else ""
    numbers = f"{setting.minimum} to {setting.maximum}{zero}"
    limits = "names of roles, separated by commas" if setting.type == "roles" else numbers
    accepts = ", ".join(setting.choices) or limits
    for label, text in (
        ("name", setting.name),
        ("value", setting.value),
        ("default", setting.default),
        ("source", _source(setting)),
        ("accepts", accepts),
        ("acts", setting.effect),
        ("what", setting.description),
    ):
        say(f"{label:8} {text}")


@app.command("set")
def set_(
    name: NameArgument,
    value: Annotated[str, typer.Argument(help="New value.")],
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Change a setting. It acts in all parts within 5 s.

    Example: countline settings set log_level.api debug
    """

    async def question(client: Client) -> pb.SetSettingResponse:
        return await client.administration.SetSetting(pb.SetSettingRequest(name=name, value=value))

    setting = ask(server, data, question).setting
    print_change(setting, f"{setting.name} set to {setting.value}; it acts {setting.effect}.", as_json=json)


@app.command("reset")
def reset(name: NameArgument, json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """Give a setting the value again that it has without a change.

    Example: countline settings reset log_level.api
    """

    async def question(client: Client) -> pb.ResetSettingResponse:
        return await client.administration.ResetSetting(pb.ResetSettingRequest(name=name))

    setting = ask(server, data, question).setting
    print_change(setting, f"{setting.name} reset to {setting.value} ({_source(setting)}).", as_json=json)


def _source(setting: pb.Setting) -> str:
    word = enum_word(_SOURCES, setting.source).replace("_", " ")
    if not setting.changed_by:
        return word
    return f"{word}, by {setting.changed_by} at {to_datetime(from_timestamp(setting.changed_at)):%Y-%m-%d %H:%M} UTC"
