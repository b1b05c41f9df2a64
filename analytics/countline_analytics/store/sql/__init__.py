"""Loads the queries of analytics from the `.sql` files beside this module.

A file is a series of blocks. Each begins with `-- name: NAME`; parameters are written `:parameter`.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Final

from sqlalchemy import TextClause, text

_NAME: Final = re.compile(r"^-- name: (?P<name>\w+)[ \t]*\n", re.MULTILINE)


def parse(script: str) -> dict[str, str]:
    """Return the blocks of a script by name.

    Raises:
        ValueError: two blocks have the same name.
    """
    _, *parts = _NAME.split(script)
    names, bodies = parts[0::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"a query is named twice in {sorted(names)}")
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}


@cache
def _load(file: str) -> dict[str, str]:
    return parse((files(__name__) / f"{file}.sql").read_text())


@cache
def query(file: str, name: str) -> TextClause:
    """Return a query for SQLAlchemy.

    Args:
        file: such as `ingest` for `ingest.sql`.
        name: name of the block.
    """
    return text(_load(file)[name])
