"""What a check found, in the form of plugins of Nagios: one line with performance data, and an exit code. Pure.

https://nagios-plugins.org/doc/guidelines.html: `STATUS - text | label=value[unit];warning;critical;minimum;maximum`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from countline_common.cli.terminal import shown
from countline_common.errors import (
    CountlineError,
    DeadlineExceededError,
    InternalError,
    NotRunningError,
    ResourceExhaustedError,
    UnavailableError,
)

MOST_TEXT: Final = 1000
"""Characters of the text. Old Nagios reads 4 KiB of a plugin."""
NAMED_AT_MOST: Final = 5
"""Things in trouble that a line names; the others are counted."""
_AWAY: Final = (UnavailableError, DeadlineExceededError, NotRunningError, ResourceExhaustedError, InternalError)


class CheckLevel(IntEnum):
    """The exit code of a check."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class PerformanceValue:
    """A number of the performance data, with the limits that made it a warning or critical; None for no limit."""

    label: str
    value: float
    unit: str = ""
    """`s`, `B`, `c` (a number that only grows), `%` or nothing."""
    warning: float | None = None
    critical: float | None = None
    lower: bool = False
    """Whether the limits are the least values that are accepted."""

    def __str__(self) -> str:
        limits = (*(_number(each) + (":" if self.lower and each is not None else "") for each in self._limits), "0")
        return f"{_label(self.label)}={_number(self.value)}{self.unit};{';'.join(limits)}"

    @property
    def _limits(self) -> tuple[float | None, float | None]:
        return self.warning, self.critical


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found."""

    level: CheckLevel
    text: str
    values: tuple[PerformanceValue, ...] = ()
    hint: str = field(default="")

    def line(self, name: str) -> str:
        """The line that a monitoring system reads; `name` says what was checked."""
        text = f"{name.upper()} {self.level.name} - {_plain(self.text)}"
        if self.hint and self.level is not CheckLevel.OK:
            text += f" ({_plain(self.hint)})"
        values = " ".join(map(str, self.values))
        return f"{text[:MOST_TEXT]} | {values}" if values else text[:MOST_TEXT]

    def as_dict(self, name: str) -> dict[str, Any]:
        """The same for `--json`."""
        return {
            "check": name,
            "status": self.level.name,
            "exit_code": int(self.level),
            "message": self.text,
            "hint": self.hint,
            "values": [
                {
                    "label": each.label,
                    "value": each.value,
                    "unit": each.unit,
                    "warning": each.warning,
                    "critical": each.critical,
                }
                for each in self.values
            ],
        }


def result_of_error(error: CountlineError) -> CheckResult:
    """A server that is away is critical. UNKNOWN says nothing about it: a wrong option, no login."""
    level = CheckLevel.CRITICAL if isinstance(error, _AWAY) else CheckLevel.UNKNOWN
    return CheckResult(level, error.message, hint=error.hint)


def graded(value: float, warning: float | None, critical: float | None, *, lower: bool = False) -> CheckLevel:
    """Compare a value with its limits; it is critical from `critical` on.

    Args:
        value: measured.
        warning: None for no limit; so for `critical`.
        critical: as above.
        lower: the limits are the least values that are accepted.
    """
    for limit, level in ((critical, CheckLevel.CRITICAL), (warning, CheckLevel.WARNING)):
        if limit is not None and (value < limit if lower else value >= limit):
            return level
    return CheckLevel.OK


def worst(levels: Iterable[CheckLevel]) -> CheckLevel:
    """The worst of some levels, OK for none."""
    return max(levels, default=CheckLevel.OK)


def named(troubles: list[str]) -> str:
    """Some troubles in one text: the first ones, and how many follow."""
    more = len(troubles) - NAMED_AT_MOST
    return "; ".join(troubles[:NAMED_AT_MOST]) + (f"; and {more} more" if more > 0 else "")


def _plain(text: str) -> str:
    """Text of users without what ends a line or begins the performance data."""
    return shown(" ".join(text.split()), one_line=True).replace("|", "/")


def _label(text: str) -> str:
    plain = "".join("_" if letter in "'=|" or not letter.isprintable() else letter for letter in text)
    return f"'{plain}'" if " " in plain else plain


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")
