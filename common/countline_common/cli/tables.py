"""The tables of commands. They all look the same: headings in capitals, no borders, numbers to the right."""

from collections.abc import Collection
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from countline_common.cli.terminal import Styled, shown


class OneLineTable(Table):
    """A table whose rows stay one line each: a line feed in a name is shown as an escape."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Add a row; `options` as in `Table.add_row`."""
        super().add_row(*(shown(cell, one_line=True) if isinstance(cell, str) else cell for cell in cells), **options)


def new_table(*columns: str, numbers: Collection[str] = (), title: str = "") -> Table:
    """Return an empty table.

    Args:
        columns: headings. Our own are in capitals, with the unit in brackets: `P95(ms)`.
        numbers: the headings of columns with numbers. Their cells are never shortened or broken into lines, since a
            part of a number is another number.
        title: a line above the table.
    """
    table = OneLineTable(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
        title=Styled(shown(title, one_line=True)) if title else None,
    )
    table.title_justify, table.title_style = "left", ""
    for column in columns:
        heading = Styled(shown(column, one_line=True))
        if column in numbers:
            table.add_column(heading, justify="right", no_wrap=True)
        else:
            table.add_column(heading, overflow="fold")
    return table
