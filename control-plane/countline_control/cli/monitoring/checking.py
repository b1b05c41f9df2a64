"""Runs a check: asks within a time limit, prints one line, and ends with the exit code of Nagios."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from countline_common.cli.tools import print_json, say
from countline_common.cli.usage import CommandUsageError, usage_errors
from countline_common.errors import CountlineError, DeadlineExceededError
from countline_common.grpc.client import Client, connect
from countline_common.grpc.discovery import discover
from countline_control.cli.monitoring.verdicts import CheckLevel, CheckResult, result_of_error

DEFAULT_TIMEOUT_S: Final = 10.0

TimeoutOption = Annotated[
    float, typer.Option("--timeout", "-t", min=0.1, max=300, metavar="SECONDS", help="Time for the whole check.")
]


class CheckGroup(TyperGroup):
    """A group whose commands end with 3 (UNKNOWN) if they are called wrongly: 2 would be CRITICAL."""

    def invoke(self, ctx: Any) -> Any:
        """Run a check."""
        try:
            with usage_errors(ctx):
                return super().invoke(ctx)
        except CommandUsageError as error:
            end("check", CheckResult(CheckLevel.UNKNOWN, error.message, hint=error.hint), as_json=False)


def run_check(
    name: str,
    question: Callable[[Client], Awaitable[CheckResult]],
    server: str | None,
    data: Path | None,
    timeout_s: float,
    *,
    as_json: bool,
) -> None:
    """Ask, print, and end the command."""
    try:
        result = asyncio.run(_asked(question, server, data, timeout_s))
    except CountlineError as error:
        result = result_of_error(error)
    end(name, result, as_json=as_json)


async def _asked(
    question: Callable[[Client], Awaitable[CheckResult]], server: str | None, data: Path | None, timeout_s: float
) -> CheckResult:
    try:
        async with asyncio.timeout(timeout_s), connect(discover(server, data)) as client:
            return await question(client)
    except TimeoutError:
        raise DeadlineExceededError(f"no answer within {timeout_s:g} s") from None


def end(name: str, result: CheckResult, *, as_json: bool) -> None:
    """Print a result, and end the command with its exit code.

    Raises:
        typer.Exit: always.
    """
    if as_json:
        print_json(result.as_dict(name))
    else:
        say(result.line(name))
    raise typer.Exit(int(result.level))
