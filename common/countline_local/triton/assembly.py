"""Assembles the backend folder of the embedded Triton.

The wheel contains the server and the Python backend, but not in one folder: the backend's process ("stub") lies
elsewhere, once per version of Python. Triton refuses links out of a backend's folder, so the files are copied (three
megabytes).

    backends/python/       libtriton_python.so, triton_python_backend_utils.py, the stub of the running Python
    backends/onnxruntime/  model.py, ours
"""

import filecmp
import hashlib
import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from countline_common.errors import CountlineError

OWN_BACKENDS: Final = Path(__file__).parent / "backends"


class TritonMissingError(CountlineError):
    """The embedded Triton is not installed, or does not fit this Python."""

    code = "FAILED_PRECONDITION"


@dataclass(frozen=True, slots=True)
class TritonWheel:
    """The files of the wheel nvidia-pytriton, and the libraries of this Python."""

    server: Path
    """The executable `tritonserver`."""
    python_backend: Path
    stub: Path
    """The Python backend's executable for the running Python."""
    libraries: tuple[Path, ...]
    """Folders for LD_LIBRARY_PATH: the wheel's shared libraries, and libpython."""


def find_wheel() -> TritonWheel:
    """Find the installed wheel.

    Raises:
        TritonMissingError: it is not installed, does not fit this Python, or libpython is not there.
    """
    root = _package_root()
    wheel = TritonWheel(
        server=root / "bin" / "tritonserver",
        python_backend=root / "backends" / "python",
        stub=root / "python_backend_stubs" / _python_version() / "triton_python_backend_stub",
        libraries=(root.parent.parent / "nvidia_pytriton.libs", _libpython_folder()),
    )
    if not wheel.stub.is_file():
        raise TritonMissingError(
            f"the wheel nvidia-pytriton has no backend for Python {_python_version()}",
            hint="run Countline on Python 3.11, 3.12 or 3.13",
        )
    return wheel


def _package_root() -> Path:
    spec = importlib.util.find_spec("pytriton")  # found, not imported: the import starts threads
    if spec is None or not spec.submodule_search_locations:
        raise TritonMissingError("the embedded Triton is not installed", hint="pip install 'countline[local]'")
    return Path(next(iter(spec.submodule_search_locations))) / "tritonserver"


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _libpython_folder() -> Path:
    """The folder of libpython<version>.so.1.0, which the stub is linked against."""
    name = f"libpython{_python_version()}.so.1.0"
    folders = [Path(str(sysconfig.get_config_var("LIBDIR") or "")), Path(sys.base_prefix) / "lib"]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    folders += [Path("/usr/lib") / str(multiarch), Path("/lib") / str(multiarch)] if multiarch else []
    for folder in folders:
        if (folder / name).is_file():
            return folder
    raise TritonMissingError(f"{name} is not installed", hint=f"apt install libpython{_python_version()}")


def prepare_backends(folder: Path) -> Path:
    """Copy missing or different backend files below `folder`; safe while another server runs from it.

    Returns:
        `folder`/backends, for `--backend-directory`. It must not lie in a model repository, where Triton treats every
        folder as a model.

    Raises:
        TritonMissingError: the wheel is not installed or does not fit this Python.
    """
    wheel = find_wheel()
    target = folder / "backends"
    for source in (wheel.python_backend / "libtriton_python.so", wheel.stub):
        _copy(source, target / "python" / source.name)
    _copy(wheel.python_backend / "triton_python_backend_utils.py", target / "python" / "triton_python_backend_utils.py")
    for source in sorted(OWN_BACKENDS.glob("*/model.py")):
        _copy(source, target / source.parent.name / source.name)
    return target


def shell_safe(repository: Path, folder: Path) -> str:
    """Return a path of a model repository that a shell reads as it is: its own, or the name of a link in a folder."""
    target = str(repository.absolute())
    if shlex.quote(target) == target:
        return target
    link = folder / f"repository{hashlib.sha256(os.fsencode(target)).hexdigest()[:12]}"
    if not link.is_symlink():
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        fresh.symlink_to(target)
        fresh.replace(link)
    return link.name


def _copy(source: Path, target: Path) -> None:
    if target.is_file() and filecmp.cmp(source, target, shallow=False):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copy2(source, fresh)
    fresh.replace(target)  # atomic: a server that starts meanwhile reads the old file or the new one
