"""How a command ends: standard output that fails, closed pipes, Ctrl-C, SIGTERM."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fixtures.forked.command import COUNTLINE

HEADS = ("models", "heads")
WRITES_SLOWLY = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import typer
from countline_common.cli import app as root
from countline_common.files.output_files import OutputFiles

def slow(out: str) -> None:
    with OutputFiles() as outputs:
        outputs.open("--out", __import__("pathlib").Path(out)).write(b"new")
        print("writing", flush=True)
        time.sleep(60)

root.app.command("slow")(slow)
root.main()
"""


PRINTS_ON_BOTH = """
import os, sys
from pathlib import Path
import typer
from countline_common.cli import app as root
from countline_common.cli.terminal import Terminal, progress_bar
from countline_common.files.output_files import OutputFiles

def noisy(out: str = typer.Argument("")) -> None:
    with OutputFiles() as outputs:
        if out:
            outputs.open("--out", Path(out)).write(b"kept")
        with progress_bar(stays=True) as bar:
            bar.add_task("work", total=1)
            if out:
                os.write(2, b"a library prints")
        Terminal(stderr=True).print("a warning")
    print("the result")

root.app.command("noisy")(noisy)
root.main()
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [HEADS, (*HEADS, "--json"), ("models", "pull", "--list"), ("--help",)])
def test_a_full_disk_behind_standard_output_is_an_error_line(command: tuple[str, ...], unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [COUNTLINE, *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write standard output: No space left on device\nhint: ")


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "<&-", "0<&- 2>&-"])
def test_standard_error_that_cannot_be_written_costs_no_result(streams: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {streams}', sys.executable, "-c", PRINTS_ON_BOTH, "noisy"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "the result\n")


def test_a_closed_standard_stream_is_not_the_next_file_that_is_opened(tmp_path: Path) -> None:
    """FFmpeg prints to descriptor 2, whatever file has that number: an output was damaged."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" >&- 2>&-', sys.executable, "-c", PRINTS_ON_BOTH, "noisy", str(tmp_path / "out")],
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "out").read_text() == "kept"


@pytest.mark.parametrize("command", [HEADS, ("--help",)])
def test_a_reader_that_has_enough_is_no_error(command: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [COUNTLINE, *command], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    with subprocess.Popen(
        [sys.executable, "-c", WRITES_SLOWLY, "slow", str(target)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        assert len(list(tmp_path.iterdir())) == 2
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert b"Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    assert target.read_text() == "old"
