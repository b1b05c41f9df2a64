"""The option `-o` of commands that list or show something: one place adds it, and one place prints by it.

Such commands have `--json`, which is short for `-o json`. They print JSON by `print_json` or `print_message`, and
tables by `print_table`.
"""

import json
import sys
from collections.abc import Callable
from contextvars import ContextVar
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from countline_common.cli.usage import CommandUsageError

LISTS: Final = frozenset(
    {"counts", "flows", "get", "history", "list", "migrations", "occupancy", "parts", "show", "whoami"}
)
"""Names of commands that have the option, if they have `--json`."""
JSON_FLAG: Final = "--json"
_NAME: Final = "output_format"


class OutputFormat(StrEnum):
    """The forms in which a command prints."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[
    OutputFormat | None,
    typer.Option("--output", "-o", help="Form of the output; wide: more columns, no line breaks in cells."),
]
_chosen: Final[ContextVar[OutputFormat]] = ContextVar("output_format", default=OutputFormat.TABLE)


def is_wide() -> bool:
    """Whether the command prints a table with all columns."""
    return _chosen.get() is OutputFormat.WIDE


def print_structured(value: Any) -> None:
    """Print what `json.dumps` takes to standard output, as JSON or as YAML."""
    if _chosen.get() is OutputFormat.YAML:
        import yaml

        yaml.safe_dump(value, sys.stdout, sort_keys=False, allow_unicode=True)
        return
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def add_output_option(command: Any) -> None:
    """Add the option to a command, or to the commands of a group, where they list or show something."""
    for inner in getattr(command, "commands", {}).values():
        add_output_option(inner)
    flag = next((each for each in command.params if JSON_FLAG in each.opts), None)
    if command.name not in LISTS or flag is None or any("-o" in each.opts for each in command.params):
        return
    command.params.insert(command.params.index(flag), _option())
    command.callback = _choosing(command.callback, str(flag.name))


def _option() -> Any:
    """The option as typer makes it; typer carries a click of its own and exports no name for that class."""

    def with_option(output_format: OutputOption = None) -> None:
        """Has the option."""

    holder = typer.Typer(add_completion=False)
    holder.command()(with_option)
    made: Any = typer.main.get_command(holder)
    return next(each for each in made.params if each.name == _NAME)


def _choosing(callback: Callable[..., Any], flag: str) -> Callable[..., Any]:
    """The callback of a command, with the chosen form set while it runs."""

    def run(**given: Any) -> Any:
        asked = given.pop(_NAME, None)
        form = OutputFormat(asked) if asked else OutputFormat.TABLE
        if given[flag]:
            if asked and form is not OutputFormat.JSON:
                raise CommandUsageError(
                    f"--json is short for -o json, and contradicts -o {form}", hint="give one of them"
                )
            form = OutputFormat.JSON
        given[flag] = form in {OutputFormat.JSON, OutputFormat.YAML}
        token = _chosen.set(form)
        try:
            return callback(**given)
        finally:
            _chosen.reset(token)

    return run
