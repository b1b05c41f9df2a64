"""Prints the requirements of extras in pyproject.toml, without Countline: its image layer survives changes of our code.

python requirements.py worker-extra another-extra > requirements.txt
"""  # noqa: INP001  (run by path while an image is built)

import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path


def requirements(project: Mapping[str, object], extras: Iterable[str]) -> list[str]:
    """Return the requirements that `pip install '.[extras]'` would install besides the project, sorted.

    Args:
        project: the table `[project]`.
        extras: names of extras. References to other extras, such as `countline[models]`, are resolved.

    Raises:
        KeyError: an extra does not exist.
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
