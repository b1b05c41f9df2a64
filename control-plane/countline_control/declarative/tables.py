"""Reads cameras from CSV into the nodes that `documents` makes of YAML, so that both are read alike.

The first line names the columns: `camera`, and fields of a camera. Columns are separated by commas, semicolons or tabs.
Several values of one field are separated by spaces. An empty cell leaves the field as it is.
"""

import csv
from collections.abc import Iterator
from typing import Any, Final

import yaml

from countline_common.files.lined_yaml import LineProblem
from countline_control.declarative.documents import Entry, FileReader

ID_COLUMN: Final = "camera"
_STR: Final = "tag:yaml.org,2002:str"
_SEPARATORS: Final = ",;\t"


def table_entries(reader: FileReader, text: str, lists: frozenset[str]) -> list[Entry]:
    """Return the cameras of a CSV text; problems go to the reader.

    Args:
        reader: of the file.
        text: of the file.
        lists: fields that hold several values.
    """
    head = text.split("\n", 1)[0]
    separator = max(_SEPARATORS, key=head.count)
    rows = csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True)
    try:
        return list(_entries(reader, rows, lists))
    except csv.Error as error:
        reader.problems.append(LineProblem(rows.line_num, f"is not CSV: {error}"))
        return []


def _entries(reader: FileReader, rows: Any, lists: frozenset[str]) -> Iterator[Entry]:
    """Yield the cameras; `rows` is what `csv.reader` returns, of which typeshed exports no name."""
    columns = [name.strip() for name in next(rows, [])]
    if ID_COLUMN not in columns:
        reader.problems.append(LineProblem(1, f"names no column `{ID_COLUMN}`; the first line must name the columns"))
        return
    for name in columns:
        if columns.count(name) > 1:
            reader.problems.append(LineProblem(1, f"names the column {name[:80]!r} twice"))
            return
    line = rows.line_num + 1
    for cells in rows:
        if any(cell.strip() for cell in cells):
            entry = _entry(reader, line, columns, cells, lists)
            if entry is not None:
                yield entry
        line = rows.line_num + 1


def _entry(reader: FileReader, line: int, columns: list[str], cells: list[str], lists: frozenset[str]) -> Entry | None:
    if len(cells) != len(columns):
        problem = f"has {len(cells)} cells for {len(columns)} columns; put a value with the separator into quotes"
        reader.problems.append(LineProblem(line, problem))
        return None
    values = {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if cell.strip()}
    key = values.pop(ID_COLUMN, "")
    if not key:
        reader.problems.append(LineProblem(line, f"has no `{ID_COLUMN}`; give the camera an id"))
        return None
    mark = yaml.Mark(reader.file, 0, line - 1, 0, None, 0)
    pairs = [(_scalar(name, mark), _node(value, mark, is_list=name in lists)) for name, value in values.items()]
    return Entry("cameras", key, yaml.MappingNode("tag:yaml.org,2002:map", pairs, mark, mark), line)


def _node(value: str, mark: yaml.Mark, *, is_list: bool) -> yaml.Node:
    if not is_list:
        return _scalar(value, mark)
    return yaml.SequenceNode("tag:yaml.org,2002:seq", [_scalar(part, mark) for part in value.split()], mark, mark)


def _scalar(value: str, mark: yaml.Mark) -> yaml.ScalarNode:
    return yaml.ScalarNode(_STR, value, mark, mark)
