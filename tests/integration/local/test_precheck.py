"""The look at the system before an installation: one apt line for all that is missing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fixtures.repository import REPOSITORY

SCRIPT = REPOSITORY / "common" / "precheck.sh"
REAL_PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder that is the whole PATH: what the script itself needs, and make and git."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "id").symlink_to(shutil.which("id") or "/usr/bin/id")
    for name in ("make", "git"):
        (folder / name).symlink_to("/bin/true")
    return folder


def python(folder: Path, name: str, *, version: str, venv: bool = True, libpython: bool = True) -> None:
    """A stand-in that answers as an interpreter of some kind would."""
    # The text of the program shows what is asked: the version, the modules, or (from standard input) the library.
    (folder / name).write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        f"  *sys.exit*) [ {version} = 3.11 ] || [ {version} = 3.12 ] ;;\n"
        f"  *print*) echo {version} ;;\n"
        f"  *ensurepip*) {'true' if venv else 'false'} ;;\n"
        f"  -) {'true' if libpython else 'false'} ;;\n"
        "esac\n"
    )
    (folder / name).chmod(0o755)


def check(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(SCRIPT)], env={"PATH": str(path)}, capture_output=True, text=True, timeout=30, check=False
    )


def apt_line(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "apt install" in line]
    return line.split("apt install ")[1].split()


def test_where_nothing_is_missing_it_names_the_python_to_use(tools: Path) -> None:
    python(tools, "python3.11", version="3.11")
    done = check(tools)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tools}/python3.11\n", "")


def test_without_any_python_it_asks_for_debians(tools: Path) -> None:
    assert apt_line(check(tools)) == ["python3.11", "python3.11-venv", "libpython3.11"]


def test_everything_that_is_missing_is_in_one_line(tools: Path) -> None:
    python(tools, "python3.11", version="3.11", venv=False, libpython=False)
    (tools / "git").unlink()
    (tools / "make").unlink()
    assert apt_line(check(tools)) == ["python3.11-venv", "libpython3.11", "make", "git"]


def test_packages_are_those_of_the_python_that_is_there(tools: Path) -> None:
    python(tools, "python3.12", version="3.12", libpython=False)
    assert apt_line(check(tools)) == ["libpython3.12"]


def test_a_python_that_is_too_old_is_passed_over(tools: Path) -> None:
    python(tools, "python3.11", version="3.9")
    python(tools, "python3.12", version="3.12")
    assert check(tools).stdout == f"{tools}/python3.12\n"


def test_this_system_passes() -> None:
    """Its tests could not run otherwise, and the script's own programs for Python are really run."""
    done = check(Path(f"{Path(REAL_PYTHON).parent}:/usr/bin:/bin"))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).exists()
