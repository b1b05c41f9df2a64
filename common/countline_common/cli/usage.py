"""Errors in how a command is called, in the form of all other errors: `error: …`, then `hint: …`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer

from countline_common.errors import InvalidInputError

# typer carries a click of its own and exports no names for these classes.
_USAGE_ERROR: Final[type[Any]] = typer.BadParameter.__mro__[1]
_SHOWS_HELP: Final = "NoArgsIsHelpError"
_SUGGESTION: Final = " Did you mean "
_PREFIX_OF_CHOICES: Final = ": Value error, "


class CommandUsageError(InvalidInputError):
    """An option or an argument of a command is missing, unknown or wrong."""


@contextmanager
def usage_errors(root: Any = None) -> Iterator[None]:
    """Raise a `CommandUsageError` for each usage error of the block.

    Args:
        root: context of the root command, once it exists; some errors do not say which command raised them.

    Raises:
        CommandUsageError: the command line cannot be used.
    """
    try:
        yield
    except _USAGE_ERROR as error:
        if type(error).__name__ == _SHOWS_HELP:  # a group without a command: typer prints its help
            raise
        raise _usage_error(error, root) from error


def _usage_error(error: Any, root: Any) -> CommandUsageError:
    message, suggestion = _parts(error)
    see = f"see '{_command_path(error.ctx, root)} --help'"
    return CommandUsageError(message, hint=f"did you mean {suggestion}? {see}" if suggestion else see)


def _command_path(ctx: Any, root: Any) -> str:
    if ctx is not None:
        return str(ctx.command_path)
    return f"{root.command_path} {root.invoked_subcommand}" if root is not None else "countline"


def _parts(error: Any) -> tuple[str, str]:
    """The message, and what the caller may have meant."""
    options = getattr(error, "possibilities", None)
    text = " ".join(str(error.message if options else error.format_message()).split())
    text, _, commands = text.replace(_PREFIX_OF_CHOICES, ": ", 1).partition(_SUGGESTION)
    text = text.removesuffix(".")
    return text[:1].lower() + text[1:], ", ".join(sorted(options)) if options else commands.removesuffix("?")
