"""The user for whom a command acts, as `countline --act-for` names it."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ActingFor:
    """A user for whom the calls of a command act, and why."""

    user: str
    """Name or id."""
    reason: str


acting_for: Final[ContextVar[ActingFor | None]] = ContextVar("acting_for", default=None)
"""Set for one command; None if its calls act for the caller itself."""
