"""Runs an embedded Triton as a child process that leaves nothing behind.

The server dies with this process, however this process ends (PR_SET_PDEATHSIG). Its backend processes notice that
within a second. Each server's shared-memory segments share a prefix, and the server holds a locked segment of that
prefix open. So the next start can recognise and remove the segments of killed servers.
"""

import asyncio
import ctypes
import itertools
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp

from countline_common.errors import ConflictError, DeadlineExceededError, UnavailableError
from countline_common.triton.shared_memory import SharedSegment, remove_stale
from countline_local.supervision.patience import MOST_PATIENCE, StartPatience
from countline_local.triton.assembly import prepare_backends
from countline_local.triton.command import (
    TritonAddresses,
    TritonPorts,
    TritonSettings,
    is_free,
    triton_command,
)

GUARD_PREFIX: Final = "countline-triton-"
READY_TIMEOUT_S: Final = 90.0
POLL_S: Final = 0.05
STOP_GRACE_S: Final = 1.0
ABORT_WORDS: Final = "Signal ("
"""How Triton's handler of SIGABRT and SIGSEGV begins its stack trace."""
ABORT_GRACE_S: Final = 2.0
"""The stack trace takes less. The handler allocates memory, so after a broken heap it can hang: then it is killed."""
PORT_ATTEMPTS: Final = 3
"""A port that was free when it was chosen can be taken when Triton binds it."""
LOG_TAIL_LINES: Final = 80
LOG_LINE_LIMIT_BYTES: Final = 1 << 20
PR_SET_PDEATHSIG: Final = 1

_serial = itertools.count()
_libc = ctypes.CDLL(None)


class TritonStartError(UnavailableError):
    """The server ended before it was ready."""


class EmbeddedTriton:
    """One embedded Triton server, from `start` to `stop`; also an asynchronous context manager.

    After `stop` it can be started again, on the same ports: clients that reconnect find it.

    Args:
        settings: repositories, models to load at start, ports (0: a free one).
        work: a folder for the assembled backends; outside every model repository.
        log: receives every line that the server writes; None for standard error.
    """

    def __init__(self, settings: TritonSettings, work: Path, log: Callable[[str], None] | None = None) -> None:
        self._settings = settings
        self._work = work
        self._log = log or _to_stderr
        self._tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        self._ports = settings.ports
        self._guard: SharedSegment | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._pump: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> TritonAddresses:
        """Where it listens; final once started."""
        host, ports = self._settings.host, self._ports
        return TritonAddresses(f"{host}:{ports.http}", f"{host}:{ports.grpc}", f"{host}:{ports.metrics}")

    @property
    def pid(self) -> int:
        """Process id of the server; raises when it was never started."""
        return self._running.pid

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise ConflictError("this Triton was not started")
        return self._process

    async def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start the server and wait until it and the models named in the settings are ready.

        Raises:
            TritonStartError: the server ended; the message has the end of its log.
            DeadlineExceededError: the server was not ready in time, and made no progress or took far too long.
            PortTakenError: a requested port is taken.
            TritonMissingError: Triton is not installed.
        """
        remove_stale_triton()
        backends = await asyncio.to_thread(prepare_backends, self._work)
        for attempt in range(PORT_ATTEMPTS):
            try:
                await self._start_once(backends, timeout_s)
            except PortTakenError:
                await self.stop()
                if self._settings.ports.all_fixed or attempt == PORT_ATTEMPTS - 1:
                    raise
            except BaseException:
                await self.stop()
                raise
            else:
                self._settings = replace(self._settings, ports=self._ports)
                return

    async def _start_once(self, backends: Path, timeout_s: float) -> None:
        self._tail.clear()
        self._ports = self._settings.ports.filled(self._settings.host)
        if not all(is_free(self._settings.host, port) for port in astuple(self._ports)):
            raise PortTakenError(self._ports)  # else another server on that port would look like ours, and ready
        self._guard = SharedSegment(f"{GUARD_PREFIX}{os.getpid()}-{next(_serial)}", 0)
        command = triton_command(self._settings, backends, self._ports, f"{self._guard.name}-")
        self._process = await asyncio.create_subprocess_exec(
            *command.argv,
            env=command.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LOG_LINE_LIMIT_BYTES,
            start_new_session=True,  # Ctrl-C in the terminal goes to this process, which stops the server
            pass_fds=(self._guard.fd,),
            preexec_fn=_die_with_parent,
        )
        self._pump = asyncio.create_task(self._read_log(self._process), name="triton-log")
        await self._wait_ready(StartPatience(self._process.pid, timeout_s, MOST_PATIENCE * timeout_s))

    async def _wait_ready(self, patience: StartPatience) -> None:
        url = f"http://{self.addresses.http}/v2/health/ready"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0)) as session:
            while not await _answers(session, url):
                if self._running.returncode is not None:
                    raise await self._why_it_ended()
                if patience.is_over():
                    raise DeadlineExceededError(
                        "Triton was not ready in time", hint="see its log for what it waits for"
                    )
                await asyncio.sleep(POLL_S)

    async def _why_it_ended(self) -> Exception:
        self._kill_group()
        if self._pump is not None:
            await self._pump  # so that the tail has its last lines
        words = "\n".join(self._tail)
        if "Address already in use" in words or "failed to start" in words.lower():
            return PortTakenError(self._ports)
        causes = [line for line in self._tail if line.startswith(("error:", "E1", "E0")) or "failed to load" in line]
        return TritonStartError(
            f"Triton ended with status {self._running.returncode} before it was ready: "
            f"{_shorten(causes or self._tail)}",
            hint="correct the named model or its config.pbtxt, then start again",
        )

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self._tail.append(line)
            self._log(line)
            if line.startswith(ABORT_WORDS):
                asyncio.get_running_loop().call_later(ABORT_GRACE_S, _kill, process)

    async def wait(self) -> int:
        """Wait until the server ends by itself; returns its exit status.

        asyncio's own `wait` also waits for the end of the log, and the backends' processes keep it open: they outlive
        an aborted server for as long as a minute.
        """
        while (status := self._running.returncode) is None:  # noqa: ASYNC110  (asyncio has no event for this alone)
            await asyncio.sleep(POLL_S)
        return status

    async def stop(self) -> None:
        """Stop the server and remove its shared memory; safe to call twice.

        Requests in flight get `STOP_GRACE_S` to end. Triton would then spend a second on the shutdown of each instance.
        An instance has no state to lose, so everything that still runs is killed.
        """
        if self._process is not None:
            if self._process.returncode is None:
                self._process.send_signal(signal.SIGTERM)
                await _ends_within(self._process, STOP_GRACE_S)
            self._kill_group()
            await self._process.wait()
        if self._pump is not None:
            await self._pump
            self._pump = None
        if self._guard is not None:
            self._guard.close()
            remove_stale(f"{self._guard.name}-")
            self._guard = None

    def _kill_group(self) -> None:
        """Kill the server and its backends' processes."""
        with suppress(ProcessLookupError):
            os.killpg(self._running.pid, signal.SIGKILL)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


class PortTakenError(ConflictError):
    """A port that was asked for is taken."""

    def __init__(self, ports: TritonPorts) -> None:
        super().__init__(
            f"Triton cannot listen: one of its ports {ports.http}, {ports.grpc}, {ports.metrics} is taken",
            hint="free it, or give other ports (0 takes a free one)",
        )


def remove_stale_triton() -> list[str]:
    """Remove the shared memory of killed servers; returns the names."""
    return remove_stale(GUARD_PREFIX)


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


async def _ends_within(process: asyncio.subprocess.Process, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await process.wait()


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _shorten(lines: "deque[str] | list[str]") -> str:
    return " / ".join(line.strip() for line in lines)[-1000:]
