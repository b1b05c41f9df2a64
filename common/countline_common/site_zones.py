"""The time zones of a site's days: one, or several if it was changed from a date on.

Pure. Each date has one zone, so each date is one day. The last day before a change can be longer or shorter, because it
ends where the first day of the next zone begins.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)


class EarlierZone(NamedTuple):
    """The zone of the days before a change."""

    zone: ZoneInfo
    until: date
    """The first day of the next zone."""


@dataclass(frozen=True, slots=True)
class SiteZones:
    """The zone of a site, and the zones of its earlier days, the oldest first."""

    zone: ZoneInfo
    earlier: tuple[EarlierZone, ...] = ()

    @classmethod
    def of(cls, time_zone: str, earlier: Iterable[tuple[str, date]] = ()) -> "SiteZones":
        """Return the zones with IANA names; each earlier one with the first day of the next."""
        return cls(ZoneInfo(time_zone), tuple(EarlierZone(ZoneInfo(name), until) for name, until in earlier))

    def at(self, moment: datetime) -> ZoneInfo:
        """Return the zone at a moment."""
        for change in self.earlier:
            if moment < self.start_of_day(change.until):
                return change.zone
        return self.zone

    def moment(self, local: datetime) -> datetime:
        """Return a time of the site's clocks, without offset, as a moment; of two such moments the first one."""
        return local.replace(tzinfo=self._zone_of(local.date()))

    def start_of_day(self, day: date) -> datetime:
        """Return the first moment of a day, in UTC. If the zone skips midnight, that is the clock change."""
        start = _midnight(day, self._zone_of(day))
        following = next((change.until for change in self.earlier if change.until > day), None)
        # Beyond the date line the next zone's first day can begin before the last day of the old one.
        return start if following is None else min(start, _midnight(following, self._zone_of(following)))

    def day_of(self, moment: datetime) -> date:
        """Return the calendar day of a moment."""
        day = moment.astimezone(self.at(moment)).date()
        for change in self.earlier:
            if moment < self.start_of_day(change.until):
                return min(day, change.until - DAY)
        return day

    def _zone_of(self, day: date) -> ZoneInfo:
        return next((change.zone for change in self.earlier if day < change.until), self.zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
