"""Prints what extras of pyproject.toml need, without Countline itself: a layer that stays while only our code changes.

python requirements.py worker-extra another-extra > requirements.txt
"""  # noqa: INP001  (run by path while an image is built)

import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path


def requirements(project: Mapping[str, object], extras: Iterable[str]) -> list[str]:
    """What `pip install '.[extras]'` would install besides the project.

    Args:
        project: the table `[project]`.
        extras: names; those that an extra refers to as `countline[...]` are followed.

    Raises:
        KeyError: there is no such extra.
    """
    name, base, optional = str(project["name"]), project["dependencies"], project["optional-dependencies"]
    if not isinstance(base, Sequence) or not isinstance(optional, Mapping):
        raise TypeError("pyproject.toml lists no dependencies")
    found = [*base, *(line for extra in extras for line in _of_extra(optional, name, extra))]
    return sorted(set(found))


def _of_extra(optional: Mapping[str, Sequence[str]], name: str, extra: str) -> Iterator[str]:
    for line in optional[extra]:
        if line.startswith(f"{name}["):
            for inner in line.removeprefix(f"{name}[").rstrip("]").split(","):
                yield from _of_extra(optional, name, inner.strip())
        else:
            yield line


if __name__ == "__main__":
    with Path("pyproject.toml").open("rb") as file:
        sys.stdout.writelines(f"{line}\n" for line in requirements(tomllib.load(file)["project"], sys.argv[1:]))
