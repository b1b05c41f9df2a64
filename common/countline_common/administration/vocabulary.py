"""The settings that can be changed while the system runs, each declared once. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from countline_common.errors import InvalidInputError, NotFoundError

_ROLE: Final = re.compile(r"[a-z0-9-]{1,63}")
AT_ONCE: Final = "at once"
SHORTEST_AUDIT_DAYS: Final = 30
"""PostgreSQL's function `audit.purge` refuses younger rows."""
SHORTEST_COUNTS_DAYS: Final = 7
AT_REFRESH: Final = "at the next login or refresh of each session"
LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class SettingKind:
    """One setting: what it is and what it accepts."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()
    """Words that it accepts; empty for a number."""
    minimum: int = 0
    maximum: int = 0
    effect: str = AT_ONCE
    """When a change acts."""
    zero_accepted: bool = False
    """0 is accepted although it is less than the minimum."""
    roles: bool = False
    """Whether it takes names of roles, separated by commas; empty or `none` for no role."""

    @property
    def type(self) -> str:
        """What the setting takes: `roles`, `word` or `number`."""
        return "roles" if self.roles else "word" if self.choices else "number"

    def parse(self, text: str) -> str:
        """Return a value in the form in which it is stored.

        Raises:
            InvalidInputError: the setting cannot have this value.
        """
        value = text.strip().lower()
        if self.roles:
            names = sorted({name.strip() for name in value.split(",")} - {"", "none"})
            if all(map(_ROLE.fullmatch, names)):
                return ",".join(names)
            hint = "use names of roles, separated by commas, or none"
        elif self.choices:
            if value in self.choices:
                return value
            hint = f"use one of: {', '.join(self.choices)}"
        elif value.isascii() and value.isdigit() and len(value) < 10 and self._is_in_range(int(value)):
            return str(int(value))
        else:
            zero = ", or 0" if self.zero_accepted else ""
            hint = f"use a whole number from {self.minimum} to {self.maximum}{zero}"
        raise InvalidInputError(f"{self.name} cannot be {text[:50]!r}", hint=hint)

    def _is_in_range(self, number: int) -> bool:
        return self.minimum <= number <= self.maximum or (number == 0 and self.zero_accepted)


def _rate(name: str, default: int, what: str) -> SettingKind:
    text = f"Most requests in a minute {what}. 0: no limit."
    return SettingKind(f"rate_limit.{name}", str(default), text, maximum=1_000_000)


def _level(part: str) -> SettingKind:
    return SettingKind(f"log_level.{part}", "info", f"Least level of the lines that {part} logs.", LEVELS)


def _retention(name: str, default: int, minimum: int, what: str) -> SettingKind:
    return SettingKind(
        f"retention.{name}_days",
        str(default),
        f"Days after which {what} are deleted for good. 0: never.",
        minimum=minimum,
        maximum=36_500,
        effect="at once: older rows are deleted",
        zero_accepted=True,
    )


SETTINGS: Final[dict[str, SettingKind]] = {
    kind.name: kind
    for kind in (
        _level("api"),
        _level("control"),
        _level("ingest"),
        _level("worker"),
        _rate("address", 3000, "from one address"),
        _rate("key", 1200, "with one key"),
        _rate("login", 60, "without a login (login, refresh, logout) from one address"),
        _rate("user", 1200, "of one user"),
        _retention("audit", 0, SHORTEST_AUDIT_DAYS, "rows of the audit"),
        _retention("crossings", 0, SHORTEST_COUNTS_DAYS, "crossings and visits, but not their counts,"),
        _retention("occupancy", 90, SHORTEST_COUNTS_DAYS, "samples of occupancy"),
        _retention("trajectories", 90, SHORTEST_COUNTS_DAYS, "trajectories"),
        SettingKind(
            "registration",
            "closed",
            "Who can create an own account: no person, those with an invite, or everybody (as guest).",
            ("closed", "invite", "open"),
        ),
        SettingKind(
            "session.days",
            "30",
            "Days after which a login ends that is not used.",
            minimum=1,
            maximum=365,
            effect=AT_REFRESH,
        ),
        SettingKind(
            "session.oidc_hours",
            "12",
            "Hours after which a login of a user who is linked to an identity provider ends, in use or not, so that "
            "the groups apply again. 0: no such end.",
            minimum=1,
            maximum=8760,
            effect=AT_REFRESH,
            zero_accepted=True,
        ),
        SettingKind(
            "second_factor_roles",
            "",
            "Roles whose users must have a second factor, separated by commas; empty for no role.",
            effect=AT_REFRESH,
            roles=True,
        ),
    )
}
"""By name."""


def kind_of(name: str) -> SettingKind:
    """Return a setting.

    Raises:
        NotFoundError: there is no setting of this name.
    """
    if name not in SETTINGS:
        raise NotFoundError(f"there is no setting {name[:100]!r}", hint="see: countline settings list")
    return SETTINGS[name]
