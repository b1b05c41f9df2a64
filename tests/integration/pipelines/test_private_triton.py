"""`countline count` whose own Triton aborts in mid-run, as the embedded server does now and then."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tests.fixtures.clips import Pass, blob_model, render
from tests.fixtures.forked.command import countline

PASSES = 30
KILLED_AT_FRAME = 200
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "blob.onnx"
    path.write_bytes(blob_model().SerializeToString())
    return path


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    passes = [Pass(to_right=number % 3 != 0, colour=number % 3) for number in range(PASSES)]
    return render(tmp_path_factory.mktemp("clip") / "long.mp4", passes)


@dataclass(frozen=True)
class Count:
    """A `countline count` that runs."""

    process: subprocess.Popen[str]
    others: set[psutil.Process]
    """The Tritons that ran before."""

    def abort_triton(self) -> None:
        (server,) = tritons() - self.others
        os.kill(server.pid, signal.SIGABRT)


def tritons() -> set[psutil.Process]:
    """Every Triton of this test process."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found |= {process} if process.name() == "tritonserver" else set()
    return found


@contextmanager
def counting(clip: Path, model: Path) -> Iterator[Count]:
    others = tritons()
    options = ("--line", "middle:0.5,0,0.5,1", "--json", "--progress-json")
    command = [str(countline()), "count", str(clip), "--model", str(model), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Count(process, others)
        finally:
            process.kill()


def said(process: "subprocess.Popen[str]", is_awaited: Callable[[str], bool]) -> list[str]:
    """Lines of standard error up to the one that is awaited."""
    assert process.stderr is not None
    until, lines = time.monotonic() + PATIENCE_S, list[str]()
    for line in process.stderr:
        lines.append(line.rstrip())
        if is_awaited(lines[-1]):
            return lines
        assert time.monotonic() < until, lines
    raise AssertionError(f"it ended before that: {lines}")


def reached(frame: int) -> Callable[[str], bool]:
    return lambda line: line.startswith("{") and json.loads(line)["frames"] >= frame


@pytest.mark.timeout(300)
def test_an_aborted_triton_is_restarted_and_the_count_is_unchanged(long_clip: Path, model: Path) -> None:
    with counting(long_clip, model) as count:
        undisturbed, _ = count.process.communicate(timeout=PATIENCE_S)
    with counting(long_clip, model) as count:
        said(count.process, reached(KILLED_AT_FRAME))
        count.abort_triton()
        output, errors = count.process.communicate(timeout=PATIENCE_S)
    assert count.process.returncode == 0, errors
    assert json.loads(output) == json.loads(undisturbed)
    assert len(json.loads(output)["events"]) == PASSES
    warnings = [line for line in errors.splitlines() if line.startswith("warning: ")]
    assert warnings == ["warning: Triton ended by itself and was restarted (1 of 3)"]


@pytest.mark.timeout(300)
def test_the_fourth_abort_ends_the_count_with_a_clear_error(long_clip: Path, model: Path) -> None:
    with counting(long_clip, model) as count:
        said(count.process, reached(1))
        for restart in range(1, 4):
            count.abort_triton()
            said(count.process, lambda line, restart=restart: line.endswith(f"was restarted ({restart} of 3)"))
        count.abort_triton()
        output, errors = count.process.communicate(timeout=PATIENCE_S)
    assert count.process.returncode == 1
    assert "after 3 restarts" in json.loads(output)["fault"]["message"]
    assert "error: Triton ended by itself with status -6 after 3 restarts" in errors
    assert "Traceback" not in errors
