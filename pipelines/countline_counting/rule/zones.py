"""When an object is in a zone: the rule for one object, and one zone over all objects of a camera.

An object has entered when it was inside for half a second without a break and once at least a tenth of its height from
the outline. Without that distance, two seconds are needed. It leaves on the same terms, so that flicker at the outline
changes nothing. A stay begins and ends when the path meets the outline.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from countline_counting import rules
from countline_counting.geometry.polygons import inside
from countline_counting.geometry.segments import Floats, Point, PolyLine, path_crossings
from countline_counting.objects.sights import Sights
from countline_counting.spec import Zone

ON_OUTLINE_HEIGHTS: Final = 1e-9
"""For a point nearer than this, exact arithmetic decides the side of the outline."""


@dataclass(frozen=True, slots=True)
class Stay:
    """One stay in a zone, after its end."""

    entered_at: float
    left_at: float
    born_inside: bool
    lost_inside: bool
    sequence: int
    """Number of this stay among those of the object in the zone, from 0."""


class Presence:
    """The state of one object at one zone."""

    __slots__ = (
        "_born_inside",
        "_change_depth",
        "_change_sights",
        "_changing_since",
        "_entered_at",
        "_last_t",
        "_stays",
        "inside",
    )

    def __init__(self) -> None:
        self.inside = False
        self._entered_at = 0.0
        self._born_inside = False
        self._changing_since: float | None = None
        self._change_sights = 0
        self._change_depth = 0.0
        self._last_t: float | None = None
        self._stays = 0

    def see(self, met_at: float | None, t: float, depth_heights: float) -> Stay | None:
        """Take the next sight; return the stay that it ends.

        Args:
            met_at: when the path last met the outline since the previous sight; None if it did not.
            t: time of the sight.
            depth_heights: distance from the outline, positive inside.
        """
        first, self._last_t = self._last_t is None, t
        if (depth_heights > 0) == self.inside:
            self._changing_since = None
            return None
        if self._changing_since is None:
            self._changing_since = met_at if met_at is not None else t
            self._change_sights, self._change_depth = 0, 0.0
            if not self.inside:
                self._born_inside = first
        self._change_sights += 1
        self._change_depth = max(self._change_depth, abs(depth_heights))
        return self._change() if self._changed(t) else None

    def touch(self, t: float) -> None:
        """Take the time of a sight that changes nothing."""
        self._last_t = t

    def end(self) -> Stay | None:
        """Return the stay that ends because the object will not be seen again."""
        if not self.inside or self._last_t is None:
            return None
        leaving = self._changing_since
        return self._stay(self._last_t if leaving is None else leaving, lost_inside=leaving is None)

    @property
    def settled(self) -> bool:
        """Whether only a sight on the other side of the outline can change the state."""
        return self._changing_since is None and self._last_t is not None

    def _changed(self, t: float) -> bool:
        assert self._changing_since is not None
        elapsed_s = t - self._changing_since + rules.TIME_SLACK_S
        if self._change_sights < rules.EXCURSION_SAMPLES or elapsed_s < rules.ZONE_CHANGE_S:
            return False
        return self._change_depth >= rules.ZONE_CLEAR_HEIGHTS or elapsed_s >= rules.ZONE_CHANGE_NEAR_S

    def _change(self) -> Stay | None:
        assert self._changing_since is not None
        at, self._changing_since = self._changing_since, None
        self.inside = not self.inside
        if self.inside:
            self._entered_at = at
            return None
        return self._stay(at, lost_inside=False)

    def _stay(self, left_at: float, *, lost_inside: bool) -> Stay:
        self._stays += 1
        return Stay(self._entered_at, left_at, self._born_inside, lost_inside, self._stays - 1)


class ZoneCounter:
    """Applies the zone rule to every object at one zone."""

    def __init__(self, zone: Zone, size_wh: tuple[int, int]) -> None:
        self.zone = zone
        corners = tuple((x * size_wh[0], y * size_wh[1]) for x, y in zone.polygon)
        self._outline = PolyLine((*corners, corners[0]))
        self._inward = _turning(corners)
        self._presences: dict[int, Presence] = {}
        self._settled = np.zeros(0, dtype=np.int8)
        """By row: 1 settled inside, -1 settled outside, 0 neither. An object that stays settled needs no more work."""
        self._last_t = np.zeros(0)
        """By row."""
        self._inside: set[int] = set()
        self.reported: int | None = None
        """The last reported occupancy; None before the first."""

    def inside(self) -> list[int]:
        """Return the rows of the objects that are inside now."""
        return sorted(self._inside)

    def see(self, sights: Sights) -> list[tuple[int, Stay]]:
        """Take the sights of one moment; return (row, stay) for each stay that ended."""
        depth = self._depth_heights(sights)
        rows = sights.rows
        self._reserve(int(rows.max(initial=-1)) + 1)
        changing = self._settled[rows] != np.where(depth > 0, 1, -1)
        self._last_t[rows] = sights.t
        ended = []
        for i in np.nonzero(changing)[0].tolist():
            row = int(rows[i])
            stay = self._see_one(row, self._met_at(sights, i), float(sights.t[i]), float(depth[i]))
            if stay is not None:
                ended.append((row, stay))
        return ended

    def end(self, row: int) -> Stay | None:
        """Forget an object; return its stay if it was inside."""
        presence = self._presences.pop(row, None)
        if presence is None:
            return None
        self._inside.discard(row)
        self._settled[row] = 0
        presence.touch(float(self._last_t[row]))
        return presence.end()

    def _reserve(self, size: int) -> None:
        if size > len(self._settled):
            more = max(size, 2 * len(self._settled)) - len(self._settled)
            self._settled = np.pad(self._settled, (0, more))
            self._last_t = np.pad(self._last_t, (0, more))

    def _see_one(self, row: int, met_at: float | None, t: float, depth_heights: float) -> Stay | None:
        presence = self._presences.setdefault(row, Presence())
        stay = presence.see(met_at, t, depth_heights)
        if presence.inside:
            self._inside.add(row)
        else:
            self._inside.discard(row)
        side = 1 if presence.inside else -1
        self._settled[row] = side if presence.settled else 0
        return stay

    def _depth_heights(self, sights: Sights) -> Floats:
        """Return (N,) signed distances from the outline, positive inside; a point on the outline is never at 0."""
        depth = self._outline.signed_distance_px(sights.xy_px) * self._inward / sights.height_px
        for i in np.nonzero(np.abs(depth) < ON_OUTLINE_HEIGHTS)[0].tolist():
            x, y = sights.xy_px[i].tolist()
            depth[i] = ON_OUTLINE_HEIGHTS if inside(self._outline.points[:-1], (x, y)) else -ON_OUTLINE_HEIGHTS
        return depth

    def _met_at(self, sights: Sights, i: int) -> float | None:
        before_t = float(sights.before_t[i])
        was_x, was_y = sights.before_xy_px[i].tolist()
        if was_x != was_x:  # noqa: PLR0124  (NaN: no previous sight)
            return None
        x, y = sights.xy_px[i].tolist()
        met = path_crossings(self._outline.points, (was_x, was_y), (x, y))
        return before_t + met[-1][0] * (float(sights.t[i]) - before_t) if met else None


def _turning(corners: tuple[Point, ...]) -> int:
    """Return 1 if the inside lies to the right of the outline in the order of its corners, else -1."""
    xy: Floats = np.array(corners) - np.array(corners[0])
    following = np.roll(xy, -1, axis=0)
    return 1 if float((xy[:, 0] * following[:, 1] - xy[:, 1] * following[:, 0]).sum()) > 0 else -1
