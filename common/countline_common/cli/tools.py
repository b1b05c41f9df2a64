"""What commands of several rooms share: options, calls to the services, output."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from google.protobuf.message import Message

from countline_common.cli.output import is_wide, print_structured
from countline_common.cli.tables import new_table
from countline_common.cli.terminal import PIPE_WIDTH, Styled, Terminal, shown
from countline_common.errors import InvalidInputError
from countline_common.grpc.client import Client, connect
from countline_common.grpc.discovery import discover
from countline_common.http.rest_json import to_json

_Result = TypeVar("_Result")

ServerOption = Annotated[
    str | None,
    typer.Option("--server", help="Server address; default: the context, or the last login."),
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder of a Countline on this machine.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def ask(server: str | None, data: Path | None, question: Callable[[Client], Awaitable[_Result]]) -> _Result:
    """Connect to the services, run `question`, and return its result."""

    async def run() -> _Result:
        async with connect(discover(server, data)) as client:
            return await question(client)

    return asyncio.run(run())


def print_json(value: Any) -> None:
    """Print JSON to standard output; YAML after `-o yaml`."""
    print_structured(value)


def print_message(message: Message) -> None:
    """Print a message of the contract as JSON."""
    print_json(to_json(message))


def print_change(message: Message, text: str, *, as_json: bool) -> None:
    """Print a changed thing as JSON, or a sentence about it."""
    if as_json:
        print_message(message)
    else:
        note(text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | Styled]], nothing: str) -> None:
    """Print a table; if there are no rows, print `nothing` to standard error. A cell with a colour is a `Styled`."""
    rows = list(rows)
    if not rows:
        note(nothing)
        return
    table = new_table(*columns)
    for row in rows:
        table.add_row(*row)
    terminal = Terminal()
    if is_wide():
        terminal.print(table, width=max(terminal.width, PIPE_WIDTH), soft_wrap=True)
    else:
        terminal.print(table)


def note(text: str) -> None:
    """Print a sentence to standard error."""
    Terminal(stderr=True).print(text, soft_wrap=True)


def say(text: str) -> None:
    """Print a line to standard output."""
    Terminal().print(text, soft_wrap=True)


def confirm(question: str, *, yes: bool, check: Callable[[], object]) -> None:
    """Ask before an action that cannot be undone; ends the command if the answer is no.

    Args:
        question: to the user.
        yes: the user wants no question.
        check: called before the question; raises an error if there is nothing to act on.

    Raises:
        InvalidInputError: there is no terminal, and standard input holds no answer.
    """
    if yes:
        return
    check()
    if sys.stdin.isatty():
        typer.confirm(shown(question), abort=True, err=True)
        return
    note(f"{question} [y/N]:")
    answer = sys.stdin.readline().strip().lower()
    if not answer:
        raise InvalidInputError(f"no terminal to ask: {question}", hint="give --yes")
    if answer not in {"y", "yes"}:
        raise typer.Abort
