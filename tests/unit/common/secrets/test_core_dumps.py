"""No process of ours writes its memory to a file when it crashes."""

import subprocess
import sys
from pathlib import Path

import pytest

LIMITS = "from pathlib import Path; print(Path('/proc/self/limits').read_text())"
COMMAND = f"""
import atexit, sys
atexit.register(lambda: exec({LIMITS!r}))
sys.argv = ["countline", "--version"]
from countline_common.cli.app import main
main()
"""
FORBIDDEN = "from countline_common.secrets.core_dumps import forbid_core_dumps; forbid_core_dumps(); "
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LIMITS!r}])"
NONE_BEFORE = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "


def limit(program: str) -> list[str]:
    """Soft and hard limit of core dumps that a program prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    (line,) = [each for each in done.stdout.splitlines() if each.startswith("Max core file size")]
    return line.split()[4:6]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (COMMAND, ["1", "1"]),
        (f"{FORBIDDEN}{LIMITS}", ["1", "1"]),
        (f"{FORBIDDEN}{CHILD}", ["1", "1"]),
        (f"{NONE_BEFORE}{FORBIDDEN}{LIMITS}", ["0", "0"]),
    ],
    ids=["countline", "the process", "its child", "no core dumps before"],
)
def test_core_dumps_are_forbidden(program: str, expected: list[str]) -> None:
    assert limit(program) == expected


def test_a_process_that_crashes_leaves_no_file(tmp_path: Path) -> None:
    program = f"{FORBIDDEN}import os; os.abort()"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode < 0
    assert list(tmp_path.iterdir()) == []
