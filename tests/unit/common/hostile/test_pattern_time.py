"""Every regular expression of the product takes time in proportion to the length of its text."""

import ast
import importlib
import re
import time
from functools import cache
from pathlib import Path

import pytest
from tests.fixtures.repository import REPOSITORY

from countline_common.redaction import redact, redact_address

ROOMS = ("common", "control-plane", "analytics", "pipelines", "models")
CALLS = {"compile", "match", "search", "split", "sub", "findall", "finditer", "fullmatch"}
SEEDS = (
    "a", "1", ".", "-", "@", ":", "/", "=", "?", "&", " ", "\n", '"', "{", "}", "a.", "a:", "a@", "://", "a://", "a://b:",
    "a://b:c@", "?token=", "a=", "{a=", "{a", '"a', "-- name: a ", "rpc a", "1x", "1.", "a-", "é", "%2F", "\t ", ",a://",
    "DETAIL:  a", "DETAIL:  \n| ", "$argon2", "$argon2id$a$", '"a":"', '"a": \'', "\\", '\\"a\\":\\"', "'a':\"\\",
    "Authorization: Basic ", "authorization:digest ", "user=a", "user=", "u=&p=", "streamid=a:", "*.a.", "cl_",
)  # fmt: skip
SHORT, LONG = 1_000, 8_000
GROWTH = LONG / SHORT * 3
"""A quadratic expression grows by 64, a linear one by 8; a busy machine makes the measurement inexact."""
NEGLIGIBLE_S = 0.004


@cache
def patterns(room: str) -> dict[str, re.Pattern[str]]:
    """Every expression of a room that is written in a call of `re`, by its place."""
    found: dict[str, re.Pattern[str]] = {}
    for file in sorted((REPOSITORY / room).glob("countline_*/**/*.py")):
        source = file.read_text()
        tree = ast.parse(source) if "re." in source else ast.Module([], [])
        named = {
            id(node.value): ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
        }
        for node in filter(_is_call_of_re, ast.walk(tree)):
            place = f"{file.relative_to(REPOSITORY)}:{node.lineno}"
            if isinstance(node.args[0], ast.Constant):
                found[place] = re.compile(_as_text(node.args[0].value), _flags(node))
            elif "re.escape" not in ast.unparse(node):  # of literals, it takes linear time
                # It is put together, and so the module has to say what it became.
                module = ".".join(file.relative_to(REPOSITORY / room).with_suffix("").parts)
                found[place] = getattr(importlib.import_module(module), named[id(node)])
    return found


def _as_text(pattern: str | bytes) -> str:
    """An expression over bytes in the same form over texts; each byte is one character."""
    return pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern


def _flags(node: ast.Call) -> re.RegexFlag:
    written = ast.unparse(node)
    names = ("IGNORECASE", "MULTILINE", "DOTALL", "VERBOSE", "ASCII")
    return sum((re.RegexFlag[name] for name in names if f"re.{name}" in written), re.NOFLAG)


def _is_call_of_re(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr in CALLS) == ("re", True)
    )


def seconds(work, text: str, times: int = 3) -> float:
    took = []
    for _ in range(times):
        started = time.process_time()
        work(text)
        took.append(time.process_time() - started)
    return min(took)


def grows_too_fast(work) -> list[str]:
    """The seeds whose repetition takes more than linear time."""
    found = []
    for seed in SEEDS:
        for end in ("", "!"):
            text = seed * (LONG // len(seed)) + end
            if seconds(work, text, times=1) < NEGLIGIBLE_S:
                continue
            short, long = seconds(work, seed * (SHORT // len(seed)) + end), seconds(work, text)
            if long > NEGLIGIBLE_S and long > short * GROWTH:
                found.append(f"{seed!r}: {short:.4f} s, {long:.4f} s")
    return found


def test_there_are_expressions_to_measure() -> None:
    assert sum(len(patterns(room)) for room in ROOMS) >= 15


@pytest.mark.parametrize("room", ROOMS)
def test_every_expression_takes_linear_time(room: str) -> None:
    slow = {}
    for place, pattern in patterns(room).items():
        for work in (pattern.fullmatch, lambda text, pattern=pattern: sum(1 for _ in pattern.finditer(text))):
            if seeds := grows_too_fast(work):
                slow[f"{place} {pattern.pattern}"] = seeds
    assert not slow


@pytest.mark.parametrize("work", [redact, redact_address])
def test_redaction_takes_linear_time(work) -> None:
    assert not grows_too_fast(work)


def test_the_measurement_finds_a_quadratic_expression() -> None:
    old = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<user>[^\s/:@\"']*):(?P<password>[^\s/\"']*)@")
    assert grows_too_fast(lambda text: old.sub("", text))


def test_this_file_is_found_where_the_rooms_are() -> None:
    assert all(Path(REPOSITORY, room).is_dir() for room in ROOMS)
