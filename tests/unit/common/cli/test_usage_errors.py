"""Wrong options and arguments, in the form of every other error."""

import sys

import pytest

from countline_common.cli.app import run


@pytest.mark.parametrize(
    ("line", "error", "hint"),
    [
        ("cameras add", "missing argument 'ID'", "see 'countline cameras add --help'"),
        ("cameras list --jsn", "no such option: --jsn", "did you mean --json? see 'countline cameras list --help'"),
        ("cameras lst", "no such command 'lst'", "did you mean 'list', 'set'? see 'countline cameras --help'"),
        ("camras list", "no such command 'camras'", "did you mean 'cameras'? see 'countline --help'"),
        ("nonsense", "no such command 'nonsense'", "see 'countline --help'"),
        ("--nonsense", "no such option: --nonsense", "see 'countline --help'"),
        ("count a.mp4 b.mp4", "got unexpected extra argument(s) (b.mp4)", "see 'countline count --help'"),
        ("up --port", "option '--port' requires an argument", "see 'countline up --help'"),
        ("analytics ingest now", "got unexpected extra argument(s) (now)", "see 'countline analytics ingest --help'"),
        ("models quantize a.onnx", "missing option '--output' / '-o'", "see 'countline models quantize --help'"),
    ],
)
def test_a_usage_error_names_the_fault_and_the_help(
    line: str, error: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["countline", *line.split()])
    assert run() == 2
    assert capsys.readouterr() == ("", f"error: {error}\nhint: {hint}\n")


def test_a_group_without_a_command_shows_its_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["countline", "cameras"])
    assert run() != 0
    out, err = capsys.readouterr()
    assert "Manage cameras." in out + err
    assert "error:" not in out + err
