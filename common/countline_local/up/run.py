"""One `countline up`, from locking its data folder to releasing it: the composition root of this room."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.settings import DataFolder
from countline_common.tasks import cancel
from countline_common.triton.shared_memory import SharedSegment, remove_stale
from countline_local.parts.all_parts import all_parts, prepare
from countline_local.parts.system import System
from countline_local.supervision import control_socket
from countline_local.supervision.folder_lock import FolderLock
from countline_local.supervision.guard_client import GuardClient
from countline_local.supervision.kept_part import PartFailedError
from countline_local.supervision.part import Part, PartEvent
from countline_local.supervision.ports import choose_ports, read_remembered, remember
from countline_local.supervision.supervisor import Supervisor
from countline_local.up.display import Display
from countline_local.up.state import (
    WAS_READY,
    first_password,
    keep_state,
    make_folders,
    port_notes,
    status_json,
    write_state,
    writing_to,
)

SEGMENT_PREFIX: Final = "countline-triton-"
"""The prefix that `countline triton` uses too, so that each cleans up after the other."""
OUR_SEGMENTS: Final = "countline-"

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Options of `countline up`."""

    data: DataFolder
    ports: dict[str, int] = field(default_factory=dict)
    any_ports: bool = False
    use_tls: bool = False


Background = Callable[[System, Supervisor, Display], Awaitable[None]]
"""Work that runs beside the parts, such as setting up the demo."""


class Up:
    """One run of `countline up`.

    Args:
        options: of the command.
        display: shows progress and events.
        background: work beside the parts; it starts with them and is cancelled when they stop.
        parts: makes the parts; tests use fewer.
    """

    def __init__(
        self,
        options: UpOptions,
        display: Display,
        background: Sequence[Background] = (),
        parts: Callable[[System], list[Part]] = all_parts,
    ) -> None:
        self._options = options
        self._data = options.data
        self._display = display
        self._background = background
        self._parts = parts
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Start all parts, wait for a stop request, stop all parts.

        Raises:
            AlreadyExistsError: another run uses this data folder.
            PartFailedError: a part cannot be started; the other parts are stopped.
        """
        await asyncio.to_thread(make_folders, self._data)
        with self._locked() as lock, self._segment() as segment, self._signals():
            with writing_to(self._data):
                system = await asyncio.to_thread(self._prepare, f"{segment.name}-")
            guard_keeps = (lock.fd, segment.fd)
            leftovers = (str(self._data.run / control_socket.NAME), f"/dev/shm/{segment.name}*")  # noqa: S108
            supervisor = Supervisor(
                self._parts(system),
                self._data.logs,
                lambda: GuardClient(self._data.logs / "guard.log", guard_keeps, leftovers),
                self._on_event,
            )
            await self._supervise(system, supervisor)
        await asyncio.to_thread(remove_stale, OUR_SEGMENTS)

    def _on_event(self, event: PartEvent) -> None:
        (_log.info if event.good else _log.warning)("part", part=event.name, text=event.text)
        self._display.event(event)

    async def _supervise(self, system: System, supervisor: Supervisor) -> None:
        def status() -> dict[str, Any]:
            return status_json(self._data, system.url, supervisor)

        def stop() -> dict[str, Any]:
            self._stop.set()
            return {"stopping": True}

        async with control_socket.serve(self._data.run, {"status": status, "stop": stop}):
            writer = asyncio.create_task(keep_state(self._data.run / "state.json", status), name="state")
            try:
                await supervisor.start()
                await self._until_stopped(system, supervisor, status)
            finally:
                await cancel(writer)
                await self._stop_all(supervisor)
                await asyncio.to_thread(write_state, self._data.run / "state.json", status())

    async def _until_stopped(
        self, system: System, supervisor: Supervisor, status: Callable[[], dict[str, Any]]
    ) -> None:
        password = first_password(self._data)
        async with _tasks([self._beside(work, system, supervisor) for work in self._background]) as background:
            stopped = asyncio.create_task(self._stop.wait(), name="stop-requested")
            background.append(stopped)
            async with self._display.progress(lambda: supervisor.statuses):
                ready = asyncio.create_task(supervisor.wait_ready(), name="wait-ready")
                background.append(ready)
                await asyncio.wait([ready, stopped], return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
                with contextlib.suppress(OSError):  # the disk is full: the password is shown once more
                    (self._data.run / WAS_READY).touch()
                self._display.ready(status(), first_password=password())
                self._display.note("Press Ctrl-C to stop.")
                await self._stay(supervisor, stopped)

    async def _beside(self, work: Background, system: System, supervisor: Supervisor) -> None:
        """Run background work and report its failure; a failure does not end the run."""
        try:
            await work(system, supervisor, self._display)
        except PartFailedError:
            pass  # `wait_ready` or `wait_failed` reports it
        except CountlineError as error:
            self._display.note(f"{error.message}; {error.hint}" if error.hint else error.message)
        except Exception as error:  # noqa: BLE001  (the task is awaited only at the end, so the error is reported here)
            _log.error("background", exc_info=True)
            self._display.note(f"background work failed: {error!r}; see logs/supervisor.log")

    async def _stay(self, supervisor: Supervisor, stopped: "asyncio.Task[bool]") -> None:
        failed = asyncio.create_task(supervisor.wait_failed(), name="wait-failed")
        try:
            await asyncio.wait([failed, stopped], return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                raise failed.result()
        finally:
            failed.cancel()

    async def _stop_all(self, supervisor: Supervisor) -> None:
        self._display.note("Stopping…")
        started = time.monotonic()
        stopping = asyncio.create_task(supervisor.stop(), name="stop")
        hurry = asyncio.create_task(self._hurry.wait(), name="hurry")
        await asyncio.wait([stopping, hurry], return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not stopping.done():
            await supervisor.hurry()
        await stopping
        self._display.note(f"Stopped in {time.monotonic() - started:.1f} s.")

    def _prepare(self, triton_segments: str) -> System:
        remove_stale(OUR_SEGMENTS)
        path = self._data.run / "ports.json"
        choices = choose_ports(read_remembered(path), self._options.ports, any_free=self._options.any_ports)
        remember(path, choices)
        for note in port_notes(choices.values()):
            self._display.note(note)
        ports = {name: choice.port for name, choice in choices.items()}
        system = System(self._data, ports, triton_segments, self._options.use_tls)
        prepare(system)
        return system

    @contextlib.contextmanager
    def _locked(self) -> Iterator[FolderLock]:
        lock = FolderLock(self._data.run / "lock", self._data.root)
        with writing_to(self._data):
            lock.acquire(lambda: self._display.note("Waiting for the end of the Countline that stops on this folder…"))
        try:
            yield lock
        finally:
            lock.release()

    @contextlib.contextmanager
    def _segment(self) -> Iterator[SharedSegment]:
        # A proof of life: Triton does not lock its segments, so this locked one stands for all of them.
        with SharedSegment(f"{SEGMENT_PREFIX}{os.getpid()}-up", 0) as segment:
            yield segment

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGINT, signal.SIGTERM]
        if (
            signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        ):  # else `nohup` asked to ignore the end of the terminal
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()


@contextlib.asynccontextmanager
async def _tasks(works: Sequence[Coroutine[Any, Any, None]]) -> "AsyncIterator[list[asyncio.Task[Any]]]":
    """Run work in the background as long as the context lasts."""
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(work) for work in works]
    try:
        yield tasks
    finally:
        await cancel(*tasks)
