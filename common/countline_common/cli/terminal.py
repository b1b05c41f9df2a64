"""Output of commands. Text of users reaches the terminal as plain text: no markup, no emoji, no control characters.

All commands print through a `Terminal`. Rich's own console reads `[bold]`, `:zebra:` and `[/b]` in a name as
instructions, and passes escape sequences on.
"""

import re
import sys
from typing import Any, Final, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.status import Status
from rich.style import Style
from rich.text import Text

PIPE_WIDTH: Final = 400
"""Columns outside a terminal: each row of a table stays one line, for grep."""
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, except tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the direction of writing
    "\u2028\u2029"  # ends of lines
    "\xad\u200b\u2060\ufeff"  # invisible, so that two names would look the same
    "\ud800-\udfff]"  # halves of a character, which no output can encode
)


def shown(text: str, *, one_line: bool = False) -> str:
    r"""The text with its control characters written as escapes, such as `\x1b`.

    Args:
        text: of a user, a camera, a file.
        one_line: write line feeds and tabs as escapes too.
    """
    if one_line:
        text = text.replace("\n", "\\n").replace("\t", "\\t")
    return _HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


class Styled(Text):
    """Text in a colour: `Styled(text, style)`, or `Styled.assemble` of strings and of pairs of text and style."""

    def __init__(self, text: str = "", style: str | Style = "", **options: Any) -> None:
        super().__init__(shown(text), style, **options)

    def append(self, text: str | Text, style: str | Style | None = None) -> Self:
        """Add text at the end."""
        super().append(shown(text) if isinstance(text, str) else text, style)
        return self


class Terminal(Console):
    """Standard output or standard error. Colours are given as `Styled` and styles, never as markup in a string.

    Args:
        stderr: print to standard error.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        width = None if stream.isatty() else PIPE_WIDTH
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a `Text` of a string; `options` as in `Console.render_str`, but markup and emoji stay off."""
        return super().render_str(shown(text), **(options | {"markup": False, "emoji": False}))

    def status(self, status: RenderableType, **options: Any) -> Status:
        """Show a spinner and a text while something is done."""
        return super().status(self.render_str(status) if isinstance(status, str) else status, **options)


def words(template: str) -> TextColumn:
    """A column of a progress bar with text; `template` as in `TextColumn`."""
    return TextColumn(template, markup=False)


def progress_bar(*columns: ProgressColumn, stays: bool = False) -> Progress:
    """A progress bar on standard error; nothing outside a terminal, unless it stays.

    Args:
        columns: description, bar, numbers and time left by default.
        stays: leave the bar on the screen at the end.
    """
    terminal = Terminal(stderr=True)
    usual = (words("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    disabled = not stays and not terminal.is_terminal
    return Progress(*(columns or usual), console=terminal, transient=not stays, disable=disabled)
