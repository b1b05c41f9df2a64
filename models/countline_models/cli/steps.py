"""Shows the steps of a long command: a table that is redrawn on a terminal, else one line for each finished step.

Steps go to standard error; standard output is for the result.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from rich.console import RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table

from countline_common.cli.terminal import Styled, Terminal

BAR_WIDTH: Final = 20


class StepState(StrEnum):
    """State of a step."""

    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


SIGNS: Final = {
    StepState.RUNNING: ("·", "cyan"),
    StepState.DONE: ("✓", "green"),
    StepState.SKIPPED: ("–", "yellow"),
    StepState.FAILED: ("✗", "red"),
}


@dataclass(slots=True)
class DeployStep:
    """One step of a deployment."""

    label: str
    state: StepState = StepState.RUNNING
    detail: str = ""
    progress: float = 0.0
    """0..1; 0 if it is unknown."""
    began: float = field(default_factory=time.monotonic)
    took_s: float = 0.0


class Steps:
    """The steps in the order in which they began.

    Args:
        labels: texts of the steps by name.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels
        self._steps: dict[str, DeployStep] = {}

    def __iter__(self) -> Iterator[DeployStep]:
        """The steps so far."""
        return iter(list(self._steps.values()))

    def show(self, name: str, state: StepState, detail: str = "", progress: float = 0.0) -> DeployStep:
        """Update a step. The first update begins it; updates after its end are ignored."""
        step = self._steps.setdefault(name, DeployStep(self._labels.get(name, name.replace("_", " "))))
        if step.state is not StepState.RUNNING:
            return step
        step.state, step.progress = state, progress
        step.detail = detail or step.detail
        step.took_s = time.monotonic() - step.began
        return step

    def refused(self) -> list[DeployStep]:
        """Mark running steps as failed and return them; the error that follows says why."""
        running = [step for step in self if step.state is StepState.RUNNING]
        for step in running:
            step.state, step.detail = StepState.FAILED, "refused"
        return running


class PlainSteps(Steps):
    """Prints a line for each step that ends."""

    def __init__(self, labels: Mapping[str, str], terminal: Terminal) -> None:
        super().__init__(labels)
        self._terminal = terminal
        self._printed: set[str] = set()

    def show(self, name: str, state: StepState, detail: str = "", progress: float = 0.0) -> DeployStep:
        """Update a step, and print it when it ends."""
        step = super().show(name, state, detail, progress)
        if step.state is not StepState.RUNNING and name not in self._printed:
            self._printed.add(name)
            self._print(step)
        return step

    def refused(self) -> list[DeployStep]:
        """Mark running steps as failed and print them."""
        failed = super().refused()
        for step in failed:
            self._print(step)
        return failed

    def _print(self, step: DeployStep) -> None:
        detail = f": {step.detail}" if step.detail else ""
        took = f" ({step.took_s:.1f} s)" if step.took_s >= 0.1 else ""
        self._terminal.print(f"{SIGNS[step.state][0]} {step.label}{detail}{took}", soft_wrap=True)


@contextmanager
def shown_steps(labels: Mapping[str, str]) -> Iterator[Steps]:
    """Show steps on standard error; an error in the block marks running steps as failed."""
    terminal = Terminal(stderr=True)
    if not terminal.is_terminal:
        yield from _until_an_error(PlainSteps(labels, terminal))
        return
    steps, spinners = Steps(labels), dict[str, Spinner]()
    with Live(console=terminal, refresh_per_second=10, get_renderable=lambda: table_of(steps, spinners)):
        yield from _until_an_error(steps)


def _until_an_error(steps: Steps) -> Iterator[Steps]:
    try:
        yield steps
    except BaseException:
        steps.refused()
        raise


def table_of(steps: Steps, spinners: dict[str, Spinner]) -> Table:
    """The steps as a table: sign, text, progress or result."""
    table = Table.grid(padding=(0, 1))
    for step in steps:
        sign, style = SIGNS[step.state]
        shown: RenderableType = Styled(sign, style=style)
        if step.state is StepState.RUNNING:
            shown = spinners.setdefault(step.label, Spinner("dots", style=style))
        table.add_row(shown, Styled(step.label, style="bold"), _progress(step))
    return table


def _progress(step: DeployStep) -> RenderableType:
    if step.state is StepState.RUNNING and step.progress > 0:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(1.0, step.progress, width=BAR_WIDTH), f"{step.progress:.0%}", step.detail)
        return bar
    seconds = time.monotonic() - step.began if step.state is StepState.RUNNING else step.took_s
    return Styled.assemble(step.detail, (f"  {seconds:.1f} s" if seconds >= 0.1 else "", "dim"))
