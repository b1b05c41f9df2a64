"""`countline context`: names servers and chooses among them."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from countline_common.access.api_keys import read_key
from countline_common.cli.contexts import complete_context
from countline_common.cli.options import grouped
from countline_common.cli.terminal import Styled
from countline_common.cli.tools import JsonOption, YesOption, confirm, note, print_json, print_table
from countline_common.contexts.context import VARIABLE, Context, check_name
from countline_common.contexts.store import (
    ChosenContext,
    ContextStore,
    default_context,
    explicit_context,
)
from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.grpc.discovery import SERVER_VARIABLE
from countline_common.grpc.endpoints import Endpoints
from countline_common.grpc.logins import Profiles
from countline_common.secrets.secret_files import write_secret
from countline_common.settings import DATA_VARIABLE, DataFolder
from countline_common.tls.files import TlsFiles

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Name servers, and choose the one that commands use."
)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the context.", autocompletion=complete_context)
]


@dataclass(frozen=True)
class TlsOptions:
    """Certificate files of a context."""

    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", help="Certificates (PEM) that sign those of the server.")
    ] = None
    cert_file: Annotated[Path | None, typer.Option("--cert-file", help="Client certificate (PEM).")] = None
    key_file: Annotated[Path | None, typer.Option("--key-file", help="Key (PEM) of the client certificate.")] = None


@dataclass(frozen=True)
class LoginOptions:
    """How a context logs in."""

    user: Annotated[str, typer.Option("--user", "-u", help="User name for `countline login`.")] = ""
    api_key_file: Annotated[
        Path | None, typer.Option("--api-key-file", help="File of mode 0600 with an API key, in place of a login.")
    ] = None
    api_key_command: Annotated[
        str, typer.Option("--api-key-command", help="Command that prints an API key, such as one that asks a keyring.")
    ] = ""
    api_key_stdin: Annotated[
        bool, typer.Option("--api-key-stdin", help="Read an API key from standard input and store it, mode 0600.")
    ] = False


@app.command("add")
@grouped
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, '.', '_' and '-'.")],
    server: Annotated[
        str, typer.Option("--server", help="Server address: HOST, or auth=HOST:PORT,…,gateway=URL.")
    ] = "",
    data: Annotated[Path | None, typer.Option("--data", help="Data folder of a Countline on this machine.")] = None,
    *,
    tls: TlsOptions,
    login: LoginOptions,
    description: Annotated[str, typer.Option(help="What it is, in words.")] = "",
    use: Annotated[bool, typer.Option("--use", help="Use it from now on.")] = False,
    replaces: Annotated[bool, typer.Option("--replace", help="Replace a context of that name.")] = False,
) -> None:
    """Add a context: a name for a server, with how to reach it and how to log in.

    Example: countline context add prod --server counts.example.org --ca-file ca.pem --user vera --use
    """
    check_name(name)
    store = ContextStore()
    context = Context(
        server=server,
        data=_absolute(data),
        user=login.user,
        ca_file=_absolute(tls.ca_file),
        cert_file=_absolute(tls.cert_file),
        key_file=_absolute(tls.key_file),
        api_key_file=_absolute(login.api_key_file),
        api_key_command=login.api_key_command,
        description=description,
    )
    _check(context, name)
    key = _key_from_stdin(context) if login.api_key_stdin else ""
    if key:
        context = replace(context, api_key_file=str(store.key_file(name)))
    store.add(name, context, replaces=replaces)
    if key:
        write_secret(store.key_file(name), key)
    if use:
        store.use(name)
    note(f"Added context {name}: {context.place}{'; commands use it from now on' if use else ''}.")


def _absolute(path: Path | None) -> str:
    return str(path.expanduser().absolute()) if path is not None else ""


def _check(context: Context, name: str) -> None:
    """Check what can be checked without the server.

    Raises:
        InvalidInputError: the server's name has no known form, or certificate files cannot be used.
    """
    context.check(f"context {name!r}")
    if context.server:
        Endpoints.parse(context.server)
    if context.ca_file:
        own = (
            Path(context.cert_file) if context.cert_file else None,
            Path(context.key_file) if context.key_file else None,
        )
        TlsFiles(Path(context.ca_file), *own).check()


def _key_from_stdin(context: Context) -> str:
    if context.key_source:
        raise InvalidInputError("--api-key-stdin excludes the other sources of an API key", hint="give one of them")
    key = sys.stdin.readline().strip()
    read_key(key)
    return key


@app.command("use")
def use_(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Context to use.", autocompletion=complete_context)
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Use no context: the server of the last login.")] = False,
) -> None:
    """Choose the context that later commands use.

    Example: countline context use prod
    """
    if (name is None) != none:
        raise InvalidInputError("give a context or --none", hint="list the contexts: countline context list")
    ContextStore().use(name or "")
    note(f"Commands use context {name} from now on." if name else "Commands use no context from now on.")
    if name and (overruling := _overruling()):
        note(f"In this shell {overruling} stands above it.")


def _overruling() -> str:
    """The environment variable that stands above the context in use; empty for none."""
    return next((each for each in (SERVER_VARIABLE, DATA_VARIABLE, VARIABLE) if os.environ.get(each)), "")


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List contexts. The one that commands use now is marked.

    Example: countline context list
    """
    contexts = ContextStore().load()
    chosen = _chosen()
    if json:
        print_json({"contexts": [_as_json(name, each, chosen) for name, each in contexts.by_name.items()]})
        return
    columns = ("USED", "CONTEXT", "SERVER", "USER", "TLS", "API KEY", "DESCRIPTION")
    rows = [_row(name, each, chosen) for name, each in contexts.by_name.items()]
    print_table(columns, rows, "No contexts. Add one: countline context add NAME --server HOST")


def _chosen() -> ChosenContext | None:
    """The context that a command in this shell would use."""
    store = ContextStore()
    if found := explicit_context(store):
        return found
    if any(os.environ.get(each) for each in (SERVER_VARIABLE, DATA_VARIABLE)):
        return None
    with suppress(NotFoundError):  # the list says so: no context is marked
        return default_context(store)
    return None


def _row(name: str, context: Context, chosen: ChosenContext | None) -> tuple[str | Styled, ...]:
    used = chosen is not None and chosen.name == name
    tls = "yes" if context.ca_file else ""
    key = "command" if context.api_key_command else "file" if context.api_key_file else ""
    marked = Styled("*" if used else "", style="green")
    return (marked, name, context.place, context.user, tls, key, context.description)


def _as_json(name: str, context: Context, chosen: ChosenContext | None) -> dict[str, Any]:
    return {"name": name, "used": chosen is not None and chosen.name == name, **context.as_dict()}


@app.command("show")
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Context to show.", autocompletion=complete_context)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show a context; without a name, the server that commands use now, and what chose it.

    Example: countline context show
    """
    contexts = ContextStore().load()
    chosen = _chosen()
    if name is not None:
        shown = _as_json(name, contexts.get(name), chosen)
    elif chosen is not None:
        shown = {**_as_json(chosen.name, chosen.context, chosen), "chosen_by": chosen.reason}
    else:
        shown = _without_context()
    if json:
        print_json(shown)
        return
    facts = {key.replace("_", " "): value for key, value in shown.items() if key != "used" and value}
    print_table(("FIELD", "VALUE"), list(facts.items()), "")


def _without_context() -> dict[str, Any]:
    """What a command would use, without a context."""
    if server := os.environ.get(SERVER_VARIABLE, ""):
        return {"name": "", "server": server, "chosen_by": SERVER_VARIABLE}
    if os.environ.get(DATA_VARIABLE):
        return {"name": "", "data": str(DataFolder.resolve().root), "chosen_by": DATA_VARIABLE}
    if server := Profiles().current:
        return {"name": "", "server": server, "chosen_by": "the last login"}
    return {"name": "", "data": str(DataFolder.resolve().root), "chosen_by": "the default of this machine"}


@app.command("remove")
def remove(name: NameArgument, yes: YesOption = False) -> None:
    """Remove a context, and the API key and the login that were stored for it. The session at the server goes on.

    Example: countline context remove prod --yes
    """
    store = ContextStore()
    confirm(f"Remove context {name}?", yes=yes, check=lambda: store.load().get(name))
    removed = store.remove(name)
    if removed.api_key_file == str(store.key_file(name)):
        store.key_file(name).unlink(missing_ok=True)
    if removed.user and not any(_same_login(removed, each) for each in store.load().by_name.values()):
        Profiles().login_file(removed.server, removed.user).delete()
    note(f"Removed context {name}.")


def _same_login(one: Context, other: Context) -> bool:
    return (one.server, one.user) == (other.server, other.user)
