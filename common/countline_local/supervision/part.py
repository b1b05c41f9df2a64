"""A part of the system: its description, its state, its events."""

import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from countline_common.errors import InvalidInputError


class PartState(StrEnum):
    """State of a part.

    stopped → starting → ready, and back to starting if it stops answering. A part that died or did not become ready is
    failed until its next start. A part is stopped after a stop request.
    """

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the system: how to start it, how to check it, how to stop it."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    """The whole environment."""
    address: str
    """The address it listens on, for display: `127.0.0.1:8080`."""
    check: Callable[[], Awaitable[None]]
    """Returns if the part is ready; raises CountlineError if it is not."""
    waits_for: str
    """What the check waits for, in words that fit behind "waits for"."""
    needs: tuple[str, ...] = ()
    """Parts that must be ready before its first start."""
    prepare: Callable[[], None] | None = None
    """Called in a thread before each start."""
    alive: Callable[[], Awaitable[None]] | None = None
    """Raises CountlineError if the part does not answer at all, or asks for a restart; None: there is no such check."""
    remarks: Callable[[], Awaitable[str]] | None = None
    """Returns what works less well than it should, for display; empty if nothing. Must not raise."""
    start_timeout_s: float = 60.0
    stop_signal: int = signal.SIGTERM
    stop_grace_s: float = 2.5
    """SIGKILL follows after this time. The sum over the longest chain of needs must stay below 10 s."""


def stages(parts: Iterable[Part]) -> dict[str, int]:
    """The start stage of each part: 0 without needs, else one more than the highest stage of its needs.

    Raises:
        InvalidInputError: a need names no part, or parts need each other.
    """
    by_name = {part.name: part for part in parts}
    found: dict[str, int] = {}

    def stage(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            raise InvalidInputError(f"parts need each other: {' → '.join((*path, name))}")
        if name not in by_name:
            raise InvalidInputError(f"part {path[-1]!r} needs {name!r}, which is no part")
        if name not in found:
            found[name] = max((stage(need, (*path, name)) + 1 for need in by_name[name].needs), default=0)
        return found[name]

    for name in by_name:
        stage(name, ())
    return found


@dataclass(slots=True)
class PartStatus:
    """The current status of a part."""

    name: str
    address: str
    state: PartState = PartState.STOPPED
    pid: int | None = None
    restarts: int = 0
    detail: str = ""
    """What the part waits for, or why it failed."""
    remark: str = ""
    """What works less well than it should."""
    since: float = 0.0
    """Monotonic time of the last change of state, seconds."""
    ready_after_s: float | None = None
    """Duration of the last start, seconds."""

    def as_json(self) -> dict[str, object]:
        """The form of `countline status --json`."""
        return {
            "name": self.name,
            "state": self.state.value,
            "address": self.address,
            "pid": self.pid,
            "restarts": self.restarts,
            "remark": self.remark,
        }


@dataclass(frozen=True, slots=True)
class PartEvent:
    """An event of a part, for display."""

    name: str
    text: str
    good: bool = field(default=False)
