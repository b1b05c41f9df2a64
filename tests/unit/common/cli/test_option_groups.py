"""Options of a command that come in groups."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from countline_common.cli.options import grouped

found: list[object] = []
app = typer.Typer()


@dataclass(frozen=True)
class SizeOptions:
    width: Annotated[int, typer.Option("--width", help="Pixels.")] = 640
    height: Annotated[int, typer.Option("--height", help="Pixels.")] = 360


@dataclass(frozen=True)
class NameOptions:
    label: Annotated[list[str] | None, typer.Option("--label", help="Repeatable.")] = None


@app.command()
@grouped
def render(file: str, size: SizeOptions, names: NameOptions, fast: bool = False) -> None:
    """Render a file."""
    found.append((file, size, names, fast))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("a.mp4", ("a.mp4", SizeOptions(), NameOptions(), False)),
        ("a.mp4 --width 10 --fast", ("a.mp4", SizeOptions(10), NameOptions(), True)),
        ("--label a --label b a.mp4", ("a.mp4", SizeOptions(), NameOptions(["a", "b"]), False)),
    ],
)
def test_a_command_gets_its_options_in_their_groups(arguments: str, expected: tuple) -> None:
    found.clear()
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 0, result.output
    assert found == [expected]


def test_help_shows_the_options_of_every_group() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Render a file." in shown
    for option in ("--width", "--height", "--label", "--fast"):
        assert option in shown
    assert "--size" not in shown


def test_an_option_that_does_not_exist_is_refused() -> None:
    assert CliRunner().invoke(app, ["a.mp4", "--size", "3"]).exit_code == 2
