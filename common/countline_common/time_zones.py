"""Time zones of places, by their IANA names."""

from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

NO_PLACES: Final = frozenset({"Factory", "localtime"})
"""Files of the time zone database that are no time zone: `Factory` means "not set", `localtime` is this machine's."""


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    # `posix/…` and `right/…` are not among the available ones; `right/…` counts leap seconds.
    return frozenset(available_timezones()) - NO_PLACES


def find_time_zone(name: str) -> ZoneInfo | None:
    """Return the time zone with an IANA name such as `Europe/Berlin`; None if there is none."""
    return ZoneInfo(name) if name in _names() else None
