"""What a part is, and in which states it can be."""

import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from countline_common.errors import InvalidInputError


class PartState(StrEnum):
    """Where a part stands.

    stopped → starting → ready, and back to starting when it stops answering; failed when it died or did not become
    ready, until its next try; stopped when it was told to.
    """

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the system: how it is started, when it counts as ready, how it is stopped."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    """The whole environment."""
    address: str
    """Where it listens, for people: `127.0.0.1:8080`."""
    check: Callable[[], Awaitable[None]]
    """Returns when the part is ready, raises CountlineError when it is not."""
    waits_for: str
    """What the check waits for, in words that fit behind "waits for"."""
    needs: tuple[str, ...] = ()
    """Parts that must be ready before it is started the first time."""
    prepare: Callable[[], None] | None = None
    """Called in a thread before each start."""
    start_timeout_s: float = 60.0
    stop_signal: int = signal.SIGTERM
    stop_grace_s: float = 2.5
    """After that, SIGKILL. Stages add up: the sum over the longest chain of needs must stay below 10 s."""


def stages(parts: Iterable[Part]) -> dict[str, int]:
    """The place of each part in the order of starting: 0 without needs, else one more than the highest of its needs.

    Raises:
        InvalidInputError: a need that no part meets, or parts that need each other.
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
    """What is known of a part now."""

    name: str
    address: str
    state: PartState = PartState.STOPPED
    pid: int | None = None
    restarts: int = 0
    detail: str = ""
    """What it waits for or why it failed, for people."""
    since: float = 0.0
    """Monotonic time of the last change of state, seconds."""
    ready_after_s: float | None = None
    """How long the last start took."""

    def as_json(self) -> dict[str, object]:
        """As `countline status --json` prints it."""
        return {
            "name": self.name,
            "state": self.state.value,
            "address": self.address,
            "pid": self.pid,
            "restarts": self.restarts,
        }


@dataclass(frozen=True, slots=True)
class PartEvent:
    """Something about a part that a person wants to know of."""

    name: str
    text: str
    good: bool = field(default=False)
