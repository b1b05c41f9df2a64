"""One `countline up`, from taking the folder's lock to giving it back: the composition root of this room."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from countline_common.errors import CountlineError, InvalidInputError
from countline_common.logs import get_logger
from countline_common.settings import DataFolder
from countline_common.triton.shared_memory import SharedSegment, remove_stale
from countline_local.parts.part import Part, PartEvent, PartStatus
from countline_local.supervision import control_socket
from countline_local.supervision.credentials import Credentials
from countline_local.supervision.folder_lock import FolderLock
from countline_local.supervision.guard_client import GuardClient
from countline_local.supervision.ports import PortChoice, choose_ports, read_remembered, remember
from countline_local.supervision.supervisor import PartFailedError, Supervisor
from countline_local.system import System

SEGMENT_PREFIX: Final = "countline-triton-"
"""As the embedded Triton's own start-up names them, so that either cleans up after the other."""
OUR_SEGMENTS: Final = "countline-"
STATE_INTERVAL_S: Final = 0.5
WAS_READY: Final = "was-ready"
"""A file in the run folder: everything was ready once, and the password has been shown."""
FOLDER_MODE: Final = 0o711
"""Of a data folder that is made here: PostgreSQL's user may pass through it and see nothing."""


_log = get_logger(__name__)


class Display(Protocol):
    """Who is shown what happens."""

    def note(self, text: str) -> None:
        """A remark, such as a port that was replaced."""

    def event(self, event: PartEvent) -> None:
        """Something happened to a part."""

    def progress(self, statuses: Callable[[], list[PartStatus]]) -> contextlib.AbstractAsyncContextManager[None]:
        """Show how the parts become ready, as long as the context lasts."""

    def ready(self, status: dict[str, Any], *, first_password: str | None) -> None:
        """Everything is ready; the password only the first time."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the caller of `countline up` chose."""

    data: DataFolder
    ports: dict[str, int] = field(default_factory=dict)
    any_ports: bool = False


Background = Callable[[System, Supervisor, Display], Awaitable[None]]
"""Work that goes on beside the parts, such as setting up the demo."""


class Up:
    """Everything that one `countline up` holds.

    Args:
        options: what the caller chose.
        display: who is shown what happens.
        background: work beside the parts; begun with them, cancelled when they stop.
        parts: makes the parts; tests bring smaller ones.
    """

    def __init__(
        self,
        options: UpOptions,
        display: Display,
        background: Sequence[Background] = (),
        parts: Callable[[System], list[Part]] = System.parts,
    ) -> None:
        self._options = options
        self._data = options.data
        self._display = display
        self._background = background
        self._parts = parts
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Start everything, stay until told to stop, stop everything.

        Raises:
            AlreadyExistsError: another one runs on this data folder.
            PartFailedError: a part cannot be started; the others are stopped.
        """
        await asyncio.to_thread(make_folders, self._data)
        with self._locked() as lock, self._segment() as segment, self._signals():
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
                await self._until_told_to_stop(system, supervisor, status)
            finally:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
                await self._stop_all(supervisor)
                await asyncio.to_thread(write_state, self._data.run / "state.json", status())

    async def _until_told_to_stop(
        self, system: System, supervisor: Supervisor, status: Callable[[], dict[str, Any]]
    ) -> None:
        password = first_password(self._data)
        async with _tasks([self._beside(work, system, supervisor) for work in self._background]) as background:
            stopped = asyncio.create_task(self._stop.wait(), name="told-to-stop")
            background.append(stopped)
            async with self._display.progress(lambda: supervisor.statuses):
                ready = asyncio.create_task(supervisor.wait_ready(), name="wait-ready")
                background.append(ready)
                await asyncio.wait([ready, stopped], return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
                (self._data.run / WAS_READY).touch()
                self._display.ready(status(), first_password=password())
                await self._stay(supervisor, stopped)

    async def _beside(self, work: Background, system: System, supervisor: Supervisor) -> None:
        """Background work whose failure is told, and ends nothing else."""
        try:
            await work(system, supervisor, self._display)
        except PartFailedError:
            pass  # told by whoever waits for the parts
        except CountlineError as error:
            self._display.note(f"{error.message}; {error.hint}" if error.hint else error.message)
        except Exception as error:  # noqa: BLE001  (nobody awaits it before the end: it must be told now)
            _log.error("background", exc_info=True)
            self._display.note(f"something went wrong beside the parts: {error!r}; see logs/supervisor.log")

    async def _stay(self, supervisor: Supervisor, stopped: "asyncio.Task[bool]") -> None:
        failed = asyncio.create_task(supervisor.wait_failed(), name="wait-failed")
        try:
            await asyncio.wait([failed, stopped], return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                raise failed.result()
        finally:
            failed.cancel()

    async def _stop_all(self, supervisor: Supervisor) -> None:
        self._display.note("stopping …")
        started = time.monotonic()
        stopping = asyncio.create_task(supervisor.stop(), name="stop")
        hurry = asyncio.create_task(self._hurry.wait(), name="hurry")
        await asyncio.wait([stopping, hurry], return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not stopping.done():
            await supervisor.hurry()
        await stopping
        self._display.note(f"stopped in {time.monotonic() - started:.1f} s")

    def _prepare(self, triton_segments: str) -> System:
        remove_stale(OUR_SEGMENTS)
        path = self._data.run / "ports.json"
        choices = choose_ports(read_remembered(path), self._options.ports, any_free=self._options.any_ports)
        remember(path, choices)
        for note in port_notes(choices.values()):
            self._display.note(note)
        system = System(self._data, {name: choice.port for name, choice in choices.items()}, triton_segments)
        system.prepare()
        return system

    @contextlib.contextmanager
    def _locked(self) -> Iterator[FolderLock]:
        lock = FolderLock(self._data.run / "lock", self._data.root)
        lock.acquire(lambda: self._display.note("waiting for the parts of a countline that was killed to end …"))
        try:
            yield lock
        finally:
            lock.release()

    @contextlib.contextmanager
    def _segment(self) -> Iterator[SharedSegment]:
        # A proof of life: Triton takes no locks on its segments, this one stands for all of them.
        with SharedSegment(f"{SEGMENT_PREFIX}{os.getpid()}-up", 0) as segment:
            yield segment

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup asked for the terminal's end to be ignored
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


def make_folders(data: DataFolder) -> None:
    """Make the data folder and, in it, the folders of the lock and of the logs.

    Raises:
        InvalidInputError: it cannot be made or written to.
    """
    try:
        data.root.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        for folder in (data.run, data.logs):
            folder.mkdir(exist_ok=True, mode=0o700)
        probe = data.run / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInputError(
            f"the data folder {data.root} cannot be used: {error.strerror}", hint="name another one with --data"
        ) from error


def first_password(data: DataFolder) -> Callable[[], str | None]:
    """Look whether this is the first start; what is returned gives the admin's password then, once it exists."""
    first = not (data.run / WAS_READY).exists()
    path = Credentials(data.credentials).admin_password
    return lambda: path.read_text().strip() if first else None


def port_notes(choices: Iterable[PortChoice]) -> list[str]:
    """What to say about ports that are not the usual ones."""
    return [
        f"port {choice.replaces} is taken or was last time: {choice.name} listens on {choice.port}"
        for choice in choices
        if choice.replaces is not None
    ]


def status_json(data: DataFolder, url: str, supervisor: Supervisor) -> dict[str, Any]:
    """What `countline status --json` prints."""
    parts = [status.as_json() for status in supervisor.statuses]
    return {"ready": supervisor.ready, "data": str(data.root), "url": url, "parts": parts}


async def keep_state(path: Path, status: Callable[[], dict[str, Any]]) -> None:
    """Write the state whenever it has changed."""
    written: dict[str, Any] | None = None
    while True:
        current = status()
        if current != written:
            await asyncio.to_thread(write_state, path, current)
            written = current
        await asyncio.sleep(STATE_INTERVAL_S)


def write_state(path: Path, status: dict[str, Any]) -> None:
    """Write the state so that a reader sees the old one or the new one, whole."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(status, indent=2) + "\n")
    partial.replace(path)


def read_status(data: DataFolder) -> tuple[dict[str, Any], bool]:
    """The status, and whether anything runs.

    Where nothing runs: the parts that ran last, as stopped.
    """
    try:
        return control_socket.ask(data.run, "status"), True
    except CountlineError as error:
        if error.code != "NOT_FOUND":
            raise
    except FileNotFoundError:  # no such data folder
        pass
    try:
        last = json.loads((data.run / "state.json").read_text())
    except (FileNotFoundError, ValueError):
        return {"ready": False, "data": str(data.root), "url": None, "parts": []}, False
    parts = [{**part, "state": "stopped", "pid": None} for part in last["parts"]]
    return {**last, "ready": False, "parts": parts}, False


@contextlib.asynccontextmanager
async def _tasks(works: Sequence[Coroutine[Any, Any, None]]) -> "AsyncIterator[list[asyncio.Task[Any]]]":
    """Run work in the background as long as the context lasts."""
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(work) for work in works]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
