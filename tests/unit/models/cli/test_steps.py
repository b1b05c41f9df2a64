"""Steps of something long, as they are shown."""

from io import StringIO

import pytest
from rich.console import Console

from countline_models.cli.steps import PlainSteps, Steps, StepState, shown_steps, table_of

LABELS = {"load": "load it"}


def plain() -> tuple[PlainSteps, StringIO]:
    written = StringIO()
    return PlainSteps(LABELS, Console(file=written, width=60)), written


def test_a_line_is_written_once_for_each_step_that_ends() -> None:
    steps, written = plain()
    steps.show("load", StepState.RUNNING)
    steps.show("load", StepState.RUNNING, progress=0.5)
    assert written.getvalue() == ""
    steps.show("load", StepState.DONE, "in [2] parts")
    steps.show("warm_up", StepState.SKIPPED, "x" * 80)
    steps.show("load", StepState.DONE)
    assert written.getvalue() == f"✓ load it: in [2] parts\n– warm up: {'x' * 80}\n"


def test_a_step_that_has_ended_does_not_begin_again() -> None:
    """The last chunk may be reported as sent after the service has said that all of it came."""
    steps, _ = plain()
    steps.show("load", StepState.DONE)
    assert steps.show("load", StepState.RUNNING, progress=1.0).state is StepState.DONE


def test_what_is_under_way_when_an_error_comes_gets_a_cross(capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> None:
        with shown_steps(LABELS) as steps:
            steps.show("store", StepState.DONE)
            steps.show("load", StepState.RUNNING)
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  (any error does)
        refused()
    assert capsys.readouterr().err.splitlines() == ["✓ store", "✗ load it: refused"]


def test_the_table_shows_a_bar_while_a_step_moves() -> None:
    steps = Steps(LABELS)
    steps.show("load", StepState.RUNNING, progress=0.25)
    steps.show("store", StepState.DONE, "version 2")
    written = StringIO()
    Console(file=written, width=80).print(table_of(steps, {}))
    first, second = written.getvalue().splitlines()
    assert "load it" in first
    assert "25%" in first
    assert second.split() == ["✓", "store", "version", "2"]
