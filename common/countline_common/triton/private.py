"""A Triton of one's own, for a command that needs no services: `countline triton` as a child process.

The child ends when its standard input closes, so that it cannot outlive this process, however it dies. The rooms know
each other by their commands here, not by imports: `countline models prepare` makes a contract model of an ONNX file,
and `countline triton` serves a folder of models.
"""

import importlib.util
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from countline_common.cli.child_commands import COMMAND, call, relayed
from countline_common.errors import CountlineError, NotFoundError
from countline_common.settings import DataFolder
from countline_common.triton import ModelRef

PREPARE_TIMEOUT_S: Final = 180.0
STOP_TIMEOUT_S: Final = 8.0
_TAIL_LINES: Final = 15


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model in a repository."""

    repository: Path
    name: str


def find_model(name: str) -> PreparedModel:
    """A model by name: in this machine's repository, else among those that are shipped.

    Args:
        name: `NAME` or `NAME@VERSION`; which of its versions are served, its configuration says.

    Raises:
        InvalidInputError: it is neither.
        NotFoundError: there is none of this name.
    """
    name = ModelRef.parse(name).name
    for repository in _repositories():
        if (repository / name / "config.pbtxt").is_file():
            return PreparedModel(repository, name)
    known = ", ".join(known_models()) or "(none is installed)"
    raise NotFoundError(f"there is no model {name!r}", hint=f"give an ONNX file, or one of: {known}")


def known_models() -> list[str]:
    """Names of the models that `find_model` finds, in alphabetical order."""
    return sorted({path.parent.name for repository in _repositories() for path in repository.glob("*/config.pbtxt")})


def _repositories() -> list[Path]:
    return [DataFolder.resolve().models, *_shipped()]


def _shipped() -> Iterator[Path]:
    """Folders that may hold the shipped models: in the wheel, or in a checkout."""
    spec = importlib.util.find_spec("countline_local")
    for place in spec.submodule_search_locations or () if spec else ():
        yield Path(place) / "triton_repo"
        yield Path(place).parent.parent / "triton-repo"


def prepare_model(file: Path, head: str | None, labels: Path | None, out: Path) -> PreparedModel:
    """Make a contract model of an ONNX file.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it cannot be made one; the message is that of `countline models prepare`.
    """
    if not file.is_file():
        raise NotFoundError(f"there is no model file {file}", hint="check the path")
    command = ["models", "prepare", str(file), "--out", str(out), "--json"]
    command += ["--head", head] if head else []
    command += ["--labels", str(labels)] if labels else []
    told = call(*command, timeout_s=PREPARE_TIMEOUT_S, trouble=f"{file} cannot be made a model for counting")
    return PreparedModel(out, str(json.loads(told)["name"]))


class PrivateTriton:
    """The child process; use `private_triton`."""

    def __init__(self, process: "subprocess.Popen[str]", log: IO[bytes]) -> None:
        self._process = process
        self._log = log
        self.address = ""

    def wait_ready(self) -> None:
        """Wait until it serves; it gives up by itself after a while.

        Raises:
            CountlineError: it did not start.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(STOP_TIMEOUT_S)
            raise self.failure()
        answer: dict[str, Any] = json.loads(line)
        self.address = str(answer["grpc"])

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def failure(self) -> CountlineError:
        """What it said before it ended."""
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        if "error: " in text:
            return relayed(text, "Triton did not start")
        tail = "\n".join(text.splitlines()[-_TAIL_LINES:])
        return CountlineError(f"Triton ended by itself; it said:\n{tail}", hint="see what it says")

    def stop(self) -> None:
        """Close its input and wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def private_triton(repository: Path) -> Iterator[PrivateTriton]:
    """A Triton that serves a folder of models on free ports, as long as the block lasts."""
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    command = [*COMMAND, "triton", "--model-repository", str(repository), *ports, "--until-eof", "--json"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C is for us; the child ends when we close its input
        )
        server = PrivateTriton(process, log)
        try:
            yield server
        finally:
            server.stop()
