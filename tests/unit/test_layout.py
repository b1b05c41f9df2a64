"""Rules of the house that no linter knows: folders, lengths, names, circles, and what tests may import."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from tests.fixtures.repository import REPOSITORY

ROOMS = ("pipelines", "models", "control-plane", "analytics", "common")
MOST_MODULES = 15
MOST_LINES = 60
MOST_CLASS_LINES = 200
LONG_CLASSES: dict[str, str] = {}
"""Classes that may be longer, each with the reason."""
SHARED_NAMES: dict[str, str] = {}
"""Public class names that may stand for two things, each with the reason."""


def is_ours(path: Path) -> bool:
    return not {"node_modules", "__pycache__"} & set(path.parts)


@cache
def modules() -> dict[str, Path]:
    """Every module of the product by its import name."""
    found = {}
    for room in ROOMS:
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            if is_ours(path):
                parts = path.relative_to(REPOSITORY / room).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@dataclass(frozen=True)
class Parsed:
    """What these tests look at in a file."""

    top: list[ast.stmt]
    functions: list[ast.FunctionDef | ast.AsyncFunctionDef]
    classes: list[ast.ClassDef]
    imports: list[ast.Import]
    imports_from: list[ast.ImportFrom]


@cache
def parsed(path: Path) -> Parsed:
    """Parse a file and walk through it once for all tests."""
    tree = ast.parse(path.read_text())
    nodes = defaultdict(list)
    for node in ast.walk(tree):
        nodes[type(node)].append(node)
    functions = nodes[ast.FunctionDef] + nodes[ast.AsyncFunctionDef]
    return Parsed(tree.body, functions, nodes[ast.ClassDef], nodes[ast.Import], nodes[ast.ImportFrom])


def imports(name: str) -> Iterator[str]:
    """Modules of the product that a module imports when it is loaded."""
    file = parsed(modules()[name])
    for node in file.imports_from:
        if node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules() else node.module
    for node in file.imports:
        yield from (alias.name for alias in node.names)


def test_no_folder_holds_more_modules_than_a_reader_can_survey() -> None:
    folders = [path for room in (*ROOMS, "tests") for path in (REPOSITORY / room).rglob("*/") if is_ours(path)]
    counts = {f: sum(path.stem != "__init__" for path in f.glob("*.py")) for f in folders}
    assert {str(f.relative_to(REPOSITORY)): n for f, n in counts.items() if n > MOST_MODULES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}"
        for path in modules().values()
        for node in parsed(path).functions
        if (node.end_lineno or 0) - node.lineno >= MOST_LINES
    ]
    assert long == []


def test_no_class_has_so_much_to_do_that_it_is_several() -> None:
    helpers = [path for folder in ("fixtures", "doubles") for path in (REPOSITORY / "tests" / folder).rglob("*.py")]
    long = {
        node.name
        for path in [*modules().values(), *helpers]
        for node in parsed(path).classes
        if (node.end_lineno or 0) - node.lineno >= MOST_CLASS_LINES
    }
    assert long == set(LONG_CLASSES)


def test_a_public_class_name_means_one_thing() -> None:
    places = defaultdict(list)
    for name, path in modules().items():
        for node in parsed(path).top:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert set(twice) == set(SHARED_NAMES), twice


def test_no_module_imports_itself_over_others() -> None:
    graph = {name: {other for other in imports(name) if other in modules() and other != name} for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_folder_imports_itself_over_its_siblings() -> None:
    graph = defaultdict(set)
    for name in modules():
        for other in imports(name):
            importing, imported = name.split("."), other.split(".")
            at = next((i for i, (a, b) in enumerate(zip(importing, imported, strict=False)) if a != b), None)
            if other in modules() and at and at < min(len(importing), len(imported)) - 1:
                graph[".".join(importing[: at + 1])].add(".".join(imported[: at + 1]))
    assert len(graph) > 40, "this test sees what it looks for"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


TEST_IMPORT = re.compile(r"^\s*(?:from|import) tests\.(?!fixtures\b|doubles\b|benchmarks\b)", re.MULTILINE)


def test_tests_import_no_tests() -> None:
    files = sorted((REPOSITORY / "tests").rglob("*.py"))
    assert len(files) > 400, "this test sees what it looks for"
    assert TEST_IMPORT.search("import x\n    from tests.unit.test_layout import modules\n")
    wrong = [str(path.relative_to(REPOSITORY)) for path in files if TEST_IMPORT.search(path.read_text())]
    assert wrong == []


PAGE = REPOSITORY / "docs" / "architecture.md"
PLACES = (
    "pipelines/countline_pipelines",
    "pipelines/countline_counting",
    "analytics/countline_analytics",
    "analytics/dashboard/src",
)


def test_the_way_of_a_frame_names_modules_that_exist_and_each_once() -> None:
    text = PAGE.read_text()
    way = text[text.index("<!-- frame -->") : text.index("<!-- frame end -->")]
    named = re.findall(r"`([\w/]+\.(?:py|tsx?))`", way)
    assert len(named) > 25, "this test sees what it looks for"
    assert len(named) == len(set(named))
    assert [name for name in named if not any((REPOSITORY / place / name).is_file() for place in PLACES)] == []


def test_every_other_module_that_the_page_names_exists() -> None:
    named = re.findall(r"`([\w-]+/[\w/.-]+\.(?:py|tsx?))`", PAGE.read_text())
    roots = [REPOSITORY, *(REPOSITORY / place for place in PLACES)]
    assert [name for name in named if not any((root / name).is_file() for root in roots)] == []


def folders_of(path: Path) -> set[str]:
    """Return the names of the folders with code in a folder."""
    suffixes = {".py", ".ts", ".tsx", ".css", ".cpp"}
    return {
        folder.name
        for folder in path.glob("*/")
        if folder.name not in {"__pycache__", "static", "migrations"}
        and is_ours(folder)
        and any(file.suffix in suffixes for file in folder.rglob("*.*"))
    }


def test_the_page_shows_every_folder_of_the_tree() -> None:
    block = PAGE.read_text().partition("## Inside a room")[2].partition("A folder answers")[0]
    shown: dict[Path, set[str]] = {}
    parents: list[tuple[int, Path]] = []
    for line in filter(str.strip, block.splitlines()):
        indent = len(line) - len(line.lstrip())
        first, _, rest = line.strip().partition(" ")
        if indent > 20:  # the line above goes on
            first, rest = "", line
        else:
            parents = [(at, path) for at, path in parents if at < indent]
            parents.append((indent, (parents[-1][1] if parents else REPOSITORY) / first))
        shown.setdefault(parents[-1][1], set()).update(re.findall(r"(\w+)/(?=\s|$)", rest))
        if len(parents) > 1 and first:
            shown[parents[-2][1]].add(first.rstrip("/"))
    assert len(shown) > 12, "this test sees what it looks for"
    flat = {REPOSITORY / "docker", REPOSITORY / "triton-repo", REPOSITORY / "proto/countline/v1"}
    different = {str(path): folders ^ folders_of(path) for path, folders in shown.items() if path not in flat}
    assert {path: folders for path, folders in different.items() if folders} == {}
