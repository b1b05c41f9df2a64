"""The queries of analytics, each under a name with a line of purpose, in `.sql` files beside this module.

A file is a series of blocks that begin with `-- name: NAME`; parameters are written `:parameter`.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Final

from sqlalchemy import TextClause, text

_NAME: Final = re.compile(r"^-- name: (?P<name>\w+)[ \t]*\n", re.MULTILINE)


def parse(script: str) -> dict[str, str]:
    """The blocks of a script by name.

    Raises:
        ValueError: a name stands twice.
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
    """A query as SQLAlchemy executes it.

    Args:
        file: such as `ingest` for `ingest.sql`.
        name: as the block is named.
    """
    return text(_load(file)[name])
