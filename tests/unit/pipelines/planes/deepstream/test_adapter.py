"""NVIDIA's bindings are deprecated, so one module has all their names: to replace them, rewrite that module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import countline_pipelines.planes.deepstream as package

MODULES = sorted(Path(package.__file__).parent.rglob("*.py"))
LOADERS = {"library.py", "checks.py"}
"""Import the bindings, or look whether they are there; the names that a check looks for are strings."""


def names_of_pyds(tree: ast.AST) -> Iterator[str]:
    """Attributes of anything called `pyds` or `_pyds`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            called = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if called in {"pyds", "_pyds"}:
                yield node.attr


def asks_for_pyds(tree: ast.AST) -> bool:
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    imported = (alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names)
    return "pyds" in {*constants, *imported}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_no_name_of_pyds_stands_outside_the_adapter(module: Path) -> None:
    tree = ast.parse(module.read_text())
    names = set(names_of_pyds(tree))
    if module.name == "metadata.py":
        assert {"gst_buffer_get_nvds_batch_meta", "NvDsObjectMeta"} <= names, "this test sees what it looks for"
    else:
        assert not names
    assert asks_for_pyds(tree) is (module.name in LOADERS)
