"""The supervisor's side of the guard: orders as coroutines, exits as futures."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from countline_common.errors import InternalError, UnavailableError
from countline_local.supervision import guard

START_TIMEOUT_S: Final = 10.0
END_TIMEOUT_S: Final = 15.0
MARK: Final = "COUNTLINE_GUARD"
"""Environment variable of every started process, by which its descendants are recognised."""
GUARD_DIED: Final = -signal.SIGKILL
"""Exit code of parts whose guard died: the kernel kills them too."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What the guard needs to start a process."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    """Standard output and error are appended to it."""
    stop_signal: int = signal.SIGTERM
    stop_grace_s: float = 3.0
    stage: int = 0
    """At the end, a higher stage is stopped before a lower one."""


class Running:
    """A process that the guard started."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid
        self._exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        """Wait until the process and its orphans have ended; returns the exit code, negative for a signal."""
        # Shielded: a cancelled caller must not cancel the future of the others.
        return await asyncio.shield(self._exited)

    def on_exit(self, code: int) -> None:
        """Record the exit; called by the reader of the guard's events."""
        if not self._exited.done():
            self._exited.set_result(code)


class GuardClient:
    """One guard process and the channel to it.

    Args:
        log: file of the guard's own errors.
        keep_open: descriptors that the guard inherits and holds as long as it lives, such as a lock.
        remove: patterns of files that the guard removes when all processes have ended.
    """

    def __init__(self, log: Path, keep_open: Sequence[int] = (), remove: Sequence[str] = ()) -> None:
        self._log = log
        self._keep_open = tuple(keep_open)
        self._remove = tuple(remove)
        self._mark = uuid.uuid4().hex
        self._running: dict[str, Running] = {}
        self._starting: dict[str, asyncio.Future[Running]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reader_task: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Start the guard.

        Raises:
            OSError: it cannot be started, since its log cannot be opened, say.
        """
        guard.become_subreaper()  # to adopt the descendants if the guard itself is killed
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = self._spawn(theirs.fileno())
            except OSError:
                ours.close()
                raise
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._reader_task = asyncio.create_task(self._read(reader), name="guard-events")
        return self

    def _spawn(self, channel: int) -> subprocess.Popen[bytes]:
        # asyncio's subprocesses use threads or child watchers, which differ between loops and versions.
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(guard.__file__)), str(channel), *self._remove],
                pass_fds=(channel, *self._keep_open), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd="/",
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether the guard can take orders."""
        return self._reader_task is not None and not self._reader_task.done()

    async def died(self) -> None:
        """Return when the guard has ended, for any reason."""
        if self._reader_task is not None:
            await asyncio.wait([self._reader_task])

    async def start(self, launch: Launch) -> Running:
        """Start a process.

        Raises:
            UnavailableError: it cannot be started (no such program), or the guard is gone.
        """
        answer: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        self._starting[launch.name] = answer
        await self._order(
            do="start", name=launch.name, argv=list(launch.argv), env={**launch.env, MARK: self._mark},
            cwd=str(launch.cwd), log=str(launch.log), stop_signal=int(launch.stop_signal),
            stop_grace_s=launch.stop_grace_s, stage=launch.stage,
        )  # fmt: skip
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                return await answer
        except TimeoutError as error:
            raise UnavailableError(f"{launch.name} was not started within {START_TIMEOUT_S:g} s") from error
        finally:
            self._starting.pop(launch.name, None)

    async def stop(self, name: str) -> None:
        """Ask a process to stop; its `wait` returns when it has."""
        await self._order(do="stop", name=name)

    async def end(self, *, now: bool = False) -> None:
        """End every process, the highest stage first, and then the guard; `now` kills them without a stop signal.

        Raises:
            InternalError: the guard does not end in time.
        """
        with contextlib.suppress(UnavailableError):  # the guard has ended already, so nothing runs
            await self._order(do="end_now" if now else "end")
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await self.died()
        except TimeoutError as error:
            raise InternalError(
                f"the parts did not end within {END_TIMEOUT_S:g} s", hint="see logs/guard.log"
            ) from error

    async def close(self) -> None:
        """Close the channel and wait for the guard, which ends all its processes first."""
        if self._writer is not None:
            self._writer.close()
        if self._reader_task is not None:
            await asyncio.wait([self._reader_task], timeout=END_TIMEOUT_S)
        if self._process is not None:
            await asyncio.to_thread(self._process.wait, END_TIMEOUT_S)

    async def _order(self, **order: Any) -> None:
        if self._writer is None or not self.alive:
            raise UnavailableError("the guard process is gone")
        self._writer.write(json.dumps(order).encode() + b"\n")
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise UnavailableError("the guard process is gone") from error

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._on_event(json.loads(line))
        except ConnectionError:
            pass
        finally:
            await self._on_guard_end()

    def _on_event(self, event: dict[str, Any]) -> None:
        name = event["name"]
        if event["event"] == "started":
            self._running[name] = Running(name, event["pid"])
            if not self._answer(name, self._running[name]) and self._writer is not None:
                # Its start took too long, so no caller knows it, and it would be in the way of the next start for ever.
                self._writer.write(json.dumps({"do": "stop", "name": name}).encode() + b"\n")
        elif event["event"] == "refused":
            self._answer(name, UnavailableError(f"{name} cannot be started: {event['error']}"))
        elif event["event"] == "exited":
            self._running.pop(name).on_exit(event["code"])

    def _answer(self, name: str, answer: Running | UnavailableError) -> bool:
        """Answer the caller who starts a process; return False if no caller waits."""
        future = self._starting.get(name)
        if future is None or future.done():
            return False
        if isinstance(answer, Running):
            future.set_result(answer)
        else:
            future.set_exception(answer)
        return True

    async def _on_guard_end(self) -> None:
        """End the orphans of a guard that has ended, and report the exit of its parts."""
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
        parts = {running.pid for running in self._running.values()}
        await asyncio.to_thread(end_orphans, f"{MARK}={self._mark}", parts, END_TIMEOUT_S)
        for running in self._running.values():
            running.on_exit(GUARD_DIED)
        self._running.clear()
        for name in list(self._starting):
            self._answer(name, UnavailableError("the guard process is gone"))


def end_orphans(mark: str, parts: Collection[int], timeout_s: float) -> None:
    """Kill the children of this process that have a mark in their environment, and their descendants.

    Only adopted processes have it: this process starts none with it.

    Args:
        mark: `NAME=value`.
        parts: processes that the kernel is killing. Their environment may be gone already, so that the mark does not
            show, while their own children are not adopted yet.
        timeout_s: when to give up.
    """
    deadline = time.monotonic() + timeout_s
    killed = set(parts)
    while ((orphans := _marked_children(mark.encode())) or killed) and time.monotonic() < deadline:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed = {pid for pid in killed | set(orphans) if not _reap(pid)}
        time.sleep(0.01)


def _reap(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _marked_children(mark: bytes) -> list[int]:
    found = []
    for pid in guard.children_of_this_process():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found
