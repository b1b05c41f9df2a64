"""The root of the `countline` command.

Sub-commands come from the rooms through the entry-point group `countline.commands`. Each room lists its commands in a
module that imports nothing heavy; the code of a command is imported when it is called. So `countline --help` is quick,
and a command whose dependencies are missing is listed and says what to install.
"""

import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

from countline_common.access.acting import ActingFor, acting_for
from countline_common.access.api_keys import VARIABLE as API_KEY_VARIABLE
from countline_common.cli.contexts import complete_context
from countline_common.cli.output import add_output_option
from countline_common.cli.standard_output import discard_output, prepare_streams
from countline_common.cli.usage import CommandUsageError, usage_errors
from countline_common.contexts.context import VARIABLE as CONTEXT_VARIABLE
from countline_common.contexts.context import named_context
from countline_common.errors import CountlineError
from countline_common.secrets.core_dumps import forbid_core_dumps
from countline_common.triton import NO_TELEMETRY

ENTRY_POINT_GROUP: Final = "countline.commands"
NAME: Final = "countline"
EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C."""
SIGNALLED: Final = 128
"""Exit status after another signal, minus the signal's number."""

Command = TyperCommand | TyperGroup

_ended_by = signal.SIGINT
"""The signal that interrupted the command."""


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command that is imported when it is called."""

    name: str
    help: str
    """One line for `countline --help`."""
    target: str
    """`module:attribute`; a `typer.Typer` (a group of commands) or a function (one command)."""
    extra: str
    """The extra of the distribution that brings what the command imports."""


class MissingExtraError(CountlineError):
    """A command's dependencies are not installed."""

    code = "FAILED_PRECONDITION"

    def __init__(self, command: LazyCommand, missing: str) -> None:
        super().__init__(
            f"`countline {command.name}` needs the Python package {missing!r}, which is not installed",
            hint=f"pip install 'countline[{command.extra}]'",
        )


def load(command: LazyCommand) -> Command:
    """Import the code of a command.

    Raises:
        MissingExtraError: a package outside this distribution is not installed.
    """
    module_name, _, attribute = command.target.partition(":")
    try:
        target = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        root = (error.name or "").partition(".")[0]
        if root.startswith("countline"):
            raise
        raise MissingExtraError(command, root) from error
    return _as_click(target, command)


def _as_click(target: typer.Typer | Callable[..., Any], command: LazyCommand) -> Command:
    if isinstance(target, typer.Typer):
        loaded = cast("Command", typer.main.get_command(target))
    else:
        app = typer.Typer(add_completion=False)
        app.command(name=command.name)(target)
        loaded = cast("Command", typer.main.get_command(app))
    loaded.name = command.name
    add_output_option(loaded)
    _join_lines(loaded)
    return loaded


def _join_lines(command: Any) -> None:
    """Let the terminal break the lines of help texts, where a docstring breaks them at its own width."""
    paragraphs = (command.help or "").split("\n\n")
    command.help = "\n\n".join(text if "\n " in f"\n{text}" else " ".join(text.split()) for text in paragraphs)
    for inner in getattr(command, "commands", {}).values():
        _join_lines(inner)


def discover() -> dict[str, LazyCommand]:
    """Every command that the installed rooms offer, by name."""
    found: dict[str, LazyCommand] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        found.update({command.name: command for command in entry.load()})
    return found


class LazyGroup(TyperGroup):
    """A group whose commands are found by entry points and imported on use.

    The context is `Any` since typer carries a click of its own and exports no name for that class.
    """

    _lists = False
    """True while the help of the whole group is written, which needs no imports from the rooms."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the options of `countline` itself.

        Raises:
            CommandUsageError: they cannot be used.
        """
        with usage_errors():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the called command.

        Raises:
            CommandUsageError: there is no such command, or its options or arguments cannot be used.
        """
        with usage_errors(ctx):
            return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the group."""
        self._lists = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._lists = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in alphabetical order, as `--help` shows them."""
        return sorted({*super().list_commands(ctx), *discover()})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The called command. It is imported for shell completion of its arguments too."""
        command = discover().get(args[0]) if args else None
        if command is None:
            known = not args or args[0] in self.list_commands(ctx) or ctx.resilient_parsing
            similar = [] if known else get_close_matches(args[0], discover())
            if similar:  # typer itself suggests only commands that are imported
                ctx.fail(f"No such command {args[0]!r}. Did you mean {', '.join(map(repr, similar))}?")
            return super().resolve_command(ctx, args)
        try:
            return command.name, load(command), args[1:]
        except MissingExtraError:
            if not ctx.resilient_parsing:
                raise
            return command.name, TyperCommand(command.name, help=command.help), args[1:]

    def get_command(self, ctx: Any, cmd_name: str) -> Command | None:
        """The imported command; only its outline while the help of the whole group is written."""
        command = discover().get(cmd_name)
        if command is None:
            return cast("Command | None", super().get_command(ctx, cmd_name))
        if self._lists or ctx.resilient_parsing:
            return TyperCommand(command.name, help=command.help)
        return load(command)


app = typer.Typer(
    cls=LazyGroup,
    name=NAME,
    help="Turns many cameras into counts that people can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as distribution_version

        print(f"countline {distribution_version('countline')}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(  # noqa: ARG001  (its callback acts)
        False, "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
    ),
    api_key: str = typer.Option(
        "", "--api-key", envvar=API_KEY_VARIABLE, help="API key in place of a login.", show_envvar=True
    ),
    context: str = typer.Option(
        "",
        "--context",
        metavar="NAME",
        autocompletion=complete_context,
        help=f"Context that names the server: countline context list. Default: {CONTEXT_VARIABLE}.",
    ),
    act_for: str = typer.Option("", "--act-for", help="User for whom the command acts; needs user:impersonate."),
    reason: str = typer.Option("", "--reason", help="Why the command acts for that user; the audit keeps it."),
) -> None:
    if api_key:
        os.environ[API_KEY_VARIABLE] = api_key
    if bool(act_for) != bool(reason):
        raise CommandUsageError("--act-for and --reason belong together", hint="give both, before the command")
    named_context.set(context)
    acting_for.set(ActingFor(act_for, reason) if act_for else None)


def report(error: CountlineError) -> None:
    """Print an error: the message, each wrong field, the hint."""
    from countline_common.cli.terminal import Styled, Terminal

    terminal = Terminal(stderr=True)
    terminal.print(Styled.assemble(("error: ", "bold red"), error.message), soft_wrap=True)
    for problem in error.fields:
        line = f"{problem.field}: {problem.message}"
        if len(error.fields) > 1 or not error.message.endswith(line):
            terminal.print(f"  {line}", soft_wrap=True)
    if error.hint:
        terminal.print(Styled.assemble(("hint: ", "green"), error.hint), soft_wrap=True)


def main() -> None:
    """Entry point of the console script."""
    forbid_core_dumps()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # a failed TLS handshake is our error to report
    os.environ.setdefault(NO_TELEMETRY, "1")
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # `nohup` ignores the end of the terminal
        signal.signal(signal.SIGHUP, _interrupt)
    prepare_streams()
    status = run()
    sys.exit(SIGNALLED + _ended_by if status == INTERRUPTED else status)


def run() -> int:
    """Run the command. Return its exit status."""
    try:
        status = _status_of_command()
        sys.stdout.flush()  # here, since an error while Python exits is a traceback
    except CountlineError as error:
        report(error)
        return EXIT_USAGE if isinstance(error, CommandUsageError) else EXIT_ERROR
    except BrokenPipeError:
        discard_output()  # the reader, such as `head`, has what it wants
    except OSError as error:
        logging.getLogger(__name__).debug("the command failed", exc_info=error)
        where = f"{error.filename}: {error.strerror}" if error.filename else f"the system reported: {error}"
        report(CountlineError(where, hint="check the path, its permissions and its disk"))
    else:
        return status
    return EXIT_ERROR


def _status_of_command() -> int:
    try:
        app(prog_name=NAME)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _interrupt(number: int, _frame: object) -> None:
    """End the command as Ctrl-C does, so that it removes its temporary files. Services replace this handler."""
    global _ended_by  # noqa: PLW0603  (a signal handler has no other way to say what happened)
    _ended_by = signal.Signals(number)
    raise KeyboardInterrupt
