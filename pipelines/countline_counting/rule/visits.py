"""From stays to visits, and how many objects a zone holds."""

from collections.abc import Iterable

from countline_counting.events import OccupancySample, Visit
from countline_counting.identity import Identity, event_id
from countline_counting.objects.doubles import Second
from countline_counting.objects.table import Objects
from countline_counting.rule.zones import Stay, ZoneCounter
from countline_counting.spec import Zone


def visits_of(
    identity: Identity,
    objects: Objects,
    zone: Zone,
    classes: frozenset[int] | None,
    stays: Iterable[tuple[int, Stay]],
    now: float,
) -> list[Visit]:
    """Return the visits among (row, stay) of one zone: those of objects of its classes.

    Args:
        identity: whose tracks these are.
        objects: the table that rows refer to.
        zone: where the stays were.
        classes: class ids that the zone counts; None for all.
        stays: stays that have ended.
        now: capture time of the newest frame.
    """
    visits = []
    for row, stay in stays:
        class_id, track = objects.class_of(row), int(objects["number"][row])
        is_second = objects["second"][row] == Second.YES
        if is_second or (classes is not None and class_id not in classes):
            continue
        visits.append(
            Visit(
                id=event_id(identity, "zone", zone.id, zone.version, track, stay.sequence),
                zone_id=zone.id,
                zone_version=zone.version,
                track=track,
                sequence=stay.sequence,
                entered_at=stay.entered_at,
                left_at=None if stay.lost_inside else stay.left_at,
                dwell_s=stay.left_at - stay.entered_at,
                class_id=class_id,
                decided_at=now,
                born_inside=stay.born_inside,
                lost_inside=stay.lost_inside,
                stitched=bool(objects["stitched"][row]),
                queue=zone.queue,
            )
        )
    return visits


def occupancy_change(
    counter: ZoneCounter, objects: Objects, classes: frozenset[int] | None, now: float
) -> OccupancySample | None:
    """Return a sample if the zone holds another number of objects of its classes than it reported last, else None."""
    inside = [row for row in counter.inside() if objects["second"][row] != Second.YES]
    count = sum(classes is None or objects.class_of(row) in classes for row in inside)
    if counter.reported == count:
        return None
    counter.reported = count
    return OccupancySample(counter.zone.id, counter.zone.version, now, count)
