"""The private Triton of a command: `countline triton` as a child process. Registered as entry point `countline.triton`.

The child ends when its standard input closes, so it cannot outlive this process, however this process dies. It restarts
Triton on the same ports up to `RESTARTS` times; the client reconnects and sends frames in flight again.
"""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Final

from countline_common.cli.child_commands import command_line, relayed
from countline_common.errors import CountlineError
from countline_common.triton.provider import TritonProvider
from countline_local.triton.shipped_models import find_shipped

RESTARTS: Final = 3
STOP_TIMEOUT_S: Final = 8.0
_TAIL_LINES: Final = 15


class TritonProcess:
    """The child process, a `PrivateTriton`."""

    def __init__(self, process: "subprocess.Popen[str]", log: IO[bytes]) -> None:
        self._process = process
        self._log = log
        self._address = ""
        self._reader = threading.Thread(target=self._report_restarts, name="private-triton", daemon=True)

    @property
    def address(self) -> str:
        """`host:port` of its gRPC service; empty until it is ready."""
        return self._address

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
        self._address = str(answer["grpc"])
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended; a restart of Triton is no end."""
        return self._process.poll() is not None

    def failure(self) -> CountlineError:
        """The error that it printed before it ended."""
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        if "error: " in text:
            return relayed(text, "Triton did not start")
        tail = "\n".join(text.splitlines()[-_TAIL_LINES:])
        return CountlineError(f"Triton ended by itself; it said:\n{tail}", hint="see what it says")

    def stop(self) -> None:
        """Close its standard input and wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader.is_alive():
            self._reader.join(STOP_TIMEOUT_S)

    def _report_restarts(self) -> None:
        """Write a line to standard error for each restart, which the child announces."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            restarts = json.loads(line)["restarts"]
            sys.stderr.write(f"warning: Triton ended by itself and was restarted ({restarts} of {RESTARTS})\n")
            sys.stderr.flush()


@contextmanager
def private_triton(repository: Path) -> Iterator[TritonProcess]:
    """A Triton that serves a folder of models on free ports, as long as the block lasts."""
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    options = [*ports, "--restarts", str(RESTARTS), "--until-eof", "--json"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command_line("triton", "--model-repository", str(repository), *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process; the child ends when its input closes
        )
        server = TritonProcess(process, log)
        try:
            yield server
        finally:
            server.stop()


class _Provider:
    def shipped_models(self) -> Path:
        return find_shipped()

    def private_triton(self, repository: Path) -> AbstractContextManager[TritonProcess]:
        return private_triton(repository)


PROVIDER: Final[TritonProvider] = _Provider()
