"""The guard: a small process that starts the parts, and ends them if the supervisor dies.

It runs by path with the standard library only (`python -I -S guard.py FD [PATTERN...]`), so it starts in some
hundredths of a second and depends on nothing that can break. Every part is its child, in a session of its own. The
guard is a *subreaper*: descendants that lose their parent become its children. When all have ended, it removes the
files that match the patterns (sockets, segments in /dev/shm). It reads orders from the socket FD, one JSON object per
line:

    {"do": "start", "name", "argv", "env", "cwd", "log", "stop_signal", "stop_grace_s", "stage"}
    {"do": "stop", "name"}       the part's stop signal; SIGKILL when its grace is over
    {"do": "end"}                stop all parts, the highest stage first, then exit
    {"do": "end_now"}            the same with SIGKILL

and writes events: `started` (name, pid), `refused` (name, error) and `exited` (name, pid, code; negative for a
signal). The socket closes when the supervisor dies; then the guard ends too. When the guard itself dies, the
kernel kills the parts (parent-death signal), and the supervisor, also a subreaper, kills their descendants.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
TICK_S: Final = 1.0
BUSY_TICK_S: Final = 0.05
ORPHAN_GRACE_S: Final = 1.0
"""Time that a process whose parent died gets to clean up, such as to unlink shared memory."""
RECEIVE_BYTES: Final = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make descendants of the calling process its children when they lose their parent."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def children_of_this_process() -> set[int]:
    """Process ids of the direct children, including adopted ones."""
    found: set[int] = set()
    try:
        for task in Path("/proc/self/task").iterdir():
            found.update(int(word) for word in (task / "children").read_text().split())
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return _children_by_search()
    return found


def _children_by_search() -> set[int]:
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may itself contain blanks and brackets; the parent is the second field after it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid():
            found.add(int(stat.parent.name))
    return found


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@dataclass(slots=True)
class Child:
    """One running part."""

    name: str
    pid: int
    stop_signal: int
    stop_grace_s: float
    stage: int
    """Parts of a higher stage are stopped before those of a lower one."""
    kill_at: float | None = None
    """Monotonic time of the SIGKILL; None while the part may run."""


class Guard:
    """The loop: reads orders, writes events, reaps children and orphans."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: dict[str, Child] = {}
        self._orphans: dict[int, float] = {}
        self._exits: list[dict[str, Any]] = []
        self._buffer = b""
        self._connected = True
        self._ending = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve until there is an order to end and all processes have ended."""
        become_subreaper()
        self._listen_to_signals()
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not self._finished():
                ready = [key.fileobj for key, _ in selector.select(self._tick_s())]
                if self._channel in ready:
                    self._receive(selector)
                if self._wake_read in ready:
                    os.read(self._wake_read, RECEIVE_BYTES)
                self._look_after_children()

    def _listen_to_signals(self) -> None:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        # Handlers that do nothing, not SIG_IGN: an ignored signal would stay ignored in every part.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_terminate)

    def _on_terminate(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True

    def _tick_s(self) -> float:
        waiting = any(child.kill_at is not None for child in self._children.values())
        return BUSY_TICK_S if self._ending or waiting or self._orphans else TICK_S

    def _finished(self) -> bool:
        return self._ending and not self._children and not self._orphans

    def _receive(self, selector: selectors.BaseSelector) -> None:
        try:
            data = self._channel.recv(RECEIVE_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            selector.unregister(self._channel)
            self._connected, self._ending = False, True
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, order: dict[str, Any]) -> None:
        match order["do"]:
            case "start":
                self._start(order)
            case "stop" if child := self._children.get(order["name"]):
                self._stop(child)
            case "end":
                self._ending = True
            case "end_now":
                self._ending = True
                for child in self._children.values():
                    _signal_session(child.pid, signal.SIGKILL)

    def _start(self, order: dict[str, Any]) -> None:
        name = order["name"]
        if self._ending or name in self._children:
            self._say(event="refused", name=name, error="it runs already" if name in self._children else "ending")
            return
        try:
            with open(order["log"], "ab") as log:  # noqa: PTH123  (no imports beyond need)
                process = subprocess.Popen(
                    order["argv"], env=order["env"], cwd=order["cwd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True, preexec_fn=_die_with_parent,  # noqa: PLW1509  (this process has one thread)
                )  # fmt: skip
        except OSError as error:
            self._say(event="refused", name=name, error=str(error))
            return
        self._children[name] = Child(name, process.pid, order["stop_signal"], order["stop_grace_s"], order["stage"])
        process.returncode = 0  # it is reaped here, not by Popen
        self._say(event="started", name=name, pid=process.pid)

    def _stop(self, child: Child) -> None:
        if child.kill_at is None:
            child.kill_at = time.monotonic() + child.stop_grace_s
            _signal(child.pid, child.stop_signal)

    def _look_after_children(self) -> None:
        self._reap()
        self._sweep_orphans()
        if self._ending and self._children:
            highest = max(child.stage for child in self._children.values())
            for child in self._children.values():
                if child.stage == highest:
                    self._stop(child)
        for child in self._children.values():
            if child.kill_at is not None and time.monotonic() > child.kill_at:
                _signal_session(child.pid, signal.SIGKILL)
        # An exit is reported only when the part's orphans are gone too: its successor then finds ports and memory free.
        if not self._orphans:
            for event in self._exits:
                self._say(**event)
            self._exits.clear()

    def _reap(self) -> None:
        names = {child.pid: name for name, child in self._children.items()}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if name := names.get(pid):
                del self._children[name]
                code = os.waitstatus_to_exitcode(status)
                self._exits.append({"event": "exited", "name": name, "pid": pid, "code": code})

    def _sweep_orphans(self) -> None:
        now = time.monotonic()
        mine = {child.pid for child in self._children.values()}
        self._orphans = {pid: self._orphans.get(pid, now) for pid in children_of_this_process() - mine}
        for pid, seen_at in self._orphans.items():
            if now - seen_at > ORPHAN_GRACE_S:
                _signal(pid, signal.SIGKILL)

    def _say(self, **event: Any) -> None:
        if not self._connected:
            return
        try:
            self._channel.sendall(json.dumps(event).encode() + b"\n")
        except OSError:  # the supervisor died: the next read returns EOF, and the guard ends
            self._connected = False


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _signal_session(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        _signal(pid, number)


def _remove(patterns: list[str]) -> None:
    for pattern in patterns:
        folder, _, name = pattern.rpartition("/")
        for path in Path(folder).glob(name):
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as supervisor_channel:
        Guard(supervisor_channel).run()
        _remove(sys.argv[2:])
