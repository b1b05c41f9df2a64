"""Text of users reaches the terminal as it is."""

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.table import Table

from countline_common.cli.app import report
from countline_common.cli.terminal import Styled, Terminal, shown, words
from countline_common.cli.tools import note, print_table, say
from countline_common.errors import FieldProblem, InvalidInputError

HOSTILE = (
    "Shop [/b]",
    "north [bold]",
    ":zebra:",
    "[link=file:///etc/passwd]x[/link]",
    "[",
    "]",
    "\\[",
    "{0}",
    "%s",
    "a\\",
)


@given(st.text())
@example("\x1b[31mred\x1b[0m")
@example("\x9b31m")
@example("evil\u202egnp.exe")
@example("\ud800")
@example("a\u2028b\u200bc\ufeff")
def test_no_control_character_is_left(text: str) -> None:
    seen = shown(text)
    assert not [c for c in seen if (ord(c) < 32 and c not in "\t\n") or 0x7F <= ord(c) < 0xA0]
    assert not set(seen) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\u200b\ufeff")
    seen.encode()
    assert "\n" not in shown(text, one_line=True)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_printed_as_it_is_in_tables_titles_notes_and_errors(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table(("SITE", name), [(name, "second")], "none")
    assert capsys.readouterr().out.count(name) == 2
    table = Table("line", name, title=f"line {name}")
    table.add_row(name, Styled(name, "bold"))
    Terminal().print(table)
    assert capsys.readouterr().out.count(name) == 4
    say(name)
    note(name)
    report(InvalidInputError(name, hint=name))
    written = capsys.readouterr()
    assert written.out == f"{name}\n"
    assert written.err.splitlines() == [name, f"error: {name}", f"hint: {name}"]


def test_escape_sequences_are_shown_and_a_row_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "STATE"), [("a\x1b[2Jb\nc", Styled("on\x1b[0mline", "green"))], "none")
    written = capsys.readouterr().out
    assert written.splitlines()[1].split() == [r"a\x1b[2Jb\nc", r"on\x1b[0mline"]


def test_a_spinner_and_a_progress_bar_read_no_markup() -> None:
    out = io.StringIO()
    terminal = Terminal()
    terminal.file = out
    with terminal.status("preparing [/b] :zebra:") as status:
        terminal.print(status.renderable)
    assert "preparing [/b] :zebra:" in out.getvalue()
    assert words("{task.description}").markup is False


@pytest.mark.parametrize(
    ("message", "fields", "lines"),
    [
        ("the site cannot be created: title: is long", [("title", "is long")], []),
        ("the request was refused", [("bucket", "must be 1m")], ["  bucket: must be 1m"]),
        ("no: a: is b (and 1 more)", [("a", "is b"), ("c", "is d")], ["  a: is b", "  c: is d"]),
    ],
)
def test_an_error_repeats_no_field_that_its_message_names(
    message: str, fields: list[tuple[str, str]], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report(InvalidInputError(message, fields=tuple(FieldProblem(*field) for field in fields)))
    assert capsys.readouterr().err.splitlines() == [f"error: {message}", *lines]
