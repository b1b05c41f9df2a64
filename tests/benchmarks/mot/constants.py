"""The constants of tracking and counting: found in the code, described in `countline_counting.constants`, and varied.

    python -m tests.benchmarks.mot.constants        writes docs/constants.md

A constant is a module-level number in capitals, or a numeric field of a `...Settings` class, in `rules`, `tracking`,
`objects` or `rule`. A number that is computed from others is none: it follows from them.
"""

import ast
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import CodeType
from typing import Any

from tests.benchmarks.mot import sensitivity

ROOT = Path(__file__).resolve().parents[3]
CORE = ROOT / "pipelines" / "countline_counting"
PAGE = ROOT / "docs" / "constants.md"
PLACES = ("rules.py", "tracking/*.py", "objects/*.py", "rule/*.py")

HEAD = "| constant | value | unit | derived from | what it decides | why this value | halved | doubled |"


@dataclass(frozen=True)
class Constant:
    """A number in the code."""

    module: str
    """Name below `countline_counting`."""
    name: str
    value: float
    meaning: str
    """The docstring below it."""

    @property
    def key(self) -> str:
        """Return `module.name`, by which the table and the command line name it."""
        return f"{self.module}.{self.name}"


def constants() -> list[Constant]:
    """Return the constants in the order of modules and lines."""
    paths = [path for place in PLACES for path in sorted(CORE.glob(place))]
    return [constant for path in paths for constant in _of_module(path)]


def _of_module(path: Path) -> Iterator[Constant]:
    module = ".".join(path.relative_to(CORE).with_suffix("").parts)
    for name, node, after in _assignments(ast.parse(path.read_text())):
        value = _number(node.value)
        if value is not None:
            yield Constant(module, name, value, _docstring(after))


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.Assign | ast.AnnAssign, ast.stmt | None]]:
    """Yield what is assigned in capitals, and the fields of settings, each with the statement after it."""
    settings = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name.endswith("Settings")]
    for body, is_settings in [(tree.body, False), *((each.body, True) for each in settings)]:
        for node, after in pairwise([*body, None]):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            if len(targets) == 1 and isinstance(targets[0], ast.Name) and (is_settings or targets[0].id.isupper()):
                yield targets[0].id, node, after  # type: ignore[misc]


def _number(node: ast.expr | None) -> float | None:
    """Return the value of an expression of literal numbers; None for anything else."""
    if node is None or any(isinstance(part, ast.Name | ast.Attribute | ast.Call) for part in ast.walk(node)):
        return None
    value = eval(compile(ast.Expression(node), "constant", "eval"), {})
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


# --- the page ------------------------------------------------------------------------------------------------------


def page() -> str:
    """Return the page of all constants."""
    from countline_counting.constants import LINES, Basis

    rows, found = {line.key: line for line in LINES}, sensitivity.read()
    text = [
        "# Constants of tracking and counting",
        "",
        "`make constants` writes this page from the code, from",
        "[constants.py](../pipelines/countline_counting/constants.py) and from the figures of the benchmark; a test",
        "compares them. None of these numbers is set per camera or per scene.",
        "",
        *(f"* **{basis.value}**: {basis.meaning}" for basis in Basis),
        "",
        *_about(found),
    ]
    module = ""
    for constant in constants():
        if constant.module != module:
            module = constant.module
            text += ["", f"## `{module}`", "", HEAD, "|---|---|---|---|---|---|---|---|"]
        line = rows[constant.key]
        about = f"`{constant.name}`", f"{constant.value:g}", line.unit, line.basis.value, constant.meaning, line.why
        cells = (*about, *found.cells(constant.key, constant.value))
        text.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(text) + "\n"


def _about(found: sensitivity.Sensitivity) -> list[str]:
    """Return what the last two columns mean."""
    return [
        "The last two columns say how counts change when the constant is halved and doubled: the errors of totals and",
        f"F1 over {found.sequences} MOT sequences with {found.true} true crossings ({found.today.error} errors and F1",
        f"{found.today.f1:.3f} with version {found.rule_version} of the rule), and how many cases of",
        "`countline selftest` fail.",
        "`=` means that nothing changes. `COUNTLINE_SEQUENCES=FOLDER make bench ARGS=sensitivity` measures them; with",
        "`--store`, `bench_sensitivity.py` writes the figures that this page shows, and goes on where it was stopped.",
    ]


# --- variation -----------------------------------------------------------------------------------------------------


class Variation(importlib.abc.MetaPathFinder):
    """Imports one module of the core with another value of one constant. What is computed from it follows."""

    def __init__(self, constant: Constant, value: float) -> None:
        self._name = f"countline_counting.{constant.module}"
        self._constant, self._value = constant, value

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> Any:
        """Return the module's spec with a loader that changes the constant."""
        spec = importlib.machinery.PathFinder.find_spec(fullname, path) if fullname == self._name else None
        if spec is not None:
            spec.loader = _Loader(fullname, str(spec.origin), self._constant.name, self._value)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, constant: str, value: float) -> None:
        super().__init__(fullname, path)
        self._constant, self._value = constant, value

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(Path(self.path).read_text())
        for name, node, _ in _assignments(tree):
            if name == self._constant and _number(node.value) is not None:
                node.value = ast.copy_location(ast.Constant(self._value), node.value)
        return compile(tree, self.path, "exec")


def vary(key: str, value: float) -> None:
    """Give a constant another value; call this before anything imports the core.

    Raises:
        RuntimeError: the module is imported already.
    """
    constant = next(each for each in constants() if each.key == key)
    if f"countline_counting.{constant.module}" in sys.modules:
        raise RuntimeError(f"{constant.module} is imported already")
    sys.meta_path.insert(0, Variation(constant, int(value) if isinstance(constant.value, int) else value))


if __name__ == "__main__":
    PAGE.write_text(page())
