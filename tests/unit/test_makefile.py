"""The Makefile: what a target runs, it installs first, also in a fresh clone."""

import re
from pathlib import Path

import pytest

MAKEFILE = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
RULES = re.findall(r"^([^\s:=#.][^:=\n]*):([^=\n]*)\n((?:\t[^\n]*\n)+)", MAKEFILE, flags=re.MULTILINE)
NEEDS_TEST_PACKAGES = re.compile(r"python -m (pytest|tests\.)|BIN\)/(mypy|ruff|lint-imports)")


@pytest.mark.parametrize(
    ("target", "needs"), [(target, needs) for target, needs, recipe in RULES if NEEDS_TEST_PACKAGES.search(recipe)]
)
def test_a_target_that_runs_tests_or_linters_installs_them(target: str, needs: str) -> None:
    needed = set(needs.partition("##")[0].split())
    assert {"$(STAMPS)/dev", "test-deps"} & needed, f"make {target} fails after git clone"
