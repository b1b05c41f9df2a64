"""Stays, dwell times and occupancy."""

import numpy as np
import pytest
from tests.fixtures.counting.paths import ROOM, events_of, norm, spec

from countline_counting.errors import GeometryError
from countline_counting.events import OccupancySample, Visit
from countline_counting.spec import Zone


def walk(*legs, fps=10.0):
    """Frames of one object that goes from spot to spot: (seconds, x, y) each, the first at 0 s."""
    times = np.cumsum([leg[0] for leg in legs])
    frames = np.arange(0, times[-1] + 1e-9, 1 / fps)
    xs = np.interp(frames, times, [leg[1] for leg in legs])
    ys = np.interp(frames, times, [leg[2] for leg in legs])
    return [(float(t), [(1, float(x), float(y))]) for t, x, y in zip(frames, xs, ys, strict=True)]


def visits(frames, zone=ROOM):
    return [event for event in events_of(frames, spec(lines=(), zones=(zone,))) if isinstance(event, Visit)]


def occupancy(frames, zone=ROOM):
    events = events_of(frames, spec(lines=(), zones=(zone,)))
    return [event.count for event in events if isinstance(event, OccupancySample)]


def test_a_stay_lasts_from_where_the_path_met_the_outline_to_where_it_met_it_again():
    (visit,) = visits(walk((0, 200, 350), (2, 600, 350), (5, 600, 350), (2, 1000, 350)))
    assert visit.entered_at == pytest.approx(1.0)
    assert visit.left_at == pytest.approx(8.0)
    assert visit.dwell_s == pytest.approx(7.0)
    assert not visit.born_inside
    assert not visit.lost_inside


def test_occupancy_goes_up_and_down_and_begins_with_zero():
    assert occupancy(walk((0, 200, 350), (2, 600, 350), (5, 600, 350), (2, 1000, 350))) == [0, 1, 0]


def test_jitter_on_the_outline_is_no_visit():
    rng = np.random.default_rng(1)
    frames = [(i / 10, [(1, 400 + rng.normal(0, 4), 350.0)]) for i in range(300)]
    assert visits(frames) == []


def test_a_step_out_and_back_in_does_not_end_a_stay():
    frames = walk(
        (0, 200, 350), (2, 600, 350), (2, 420, 350), (0.1, 380, 350), (0.2, 380, 350), (0.1, 420, 350), (3, 900, 350)
    )
    assert len(visits(frames)) == 1


def test_an_object_born_inside_has_no_entry_and_one_lost_inside_no_exit():
    (visit,) = visits(walk((0, 600, 350), (3, 610, 350)))
    assert visit.born_inside
    assert visit.lost_inside
    assert visit.left_at is None
    assert visit.dwell_s == pytest.approx(3.0)


def test_a_lost_object_leaves_the_occupancy_after_three_seconds():
    frames = [*walk((0, 600, 350), (2, 610, 350)), *[(2.1 + i / 10, []) for i in range(50)]]
    assert occupancy(frames) == [0, 1, 0]


def test_the_notch_of_a_concave_zone_is_outside():
    zone = Zone(
        "u", norm((300, 100), (500, 100), (500, 500), (800, 500), (800, 100), (1000, 100), (1000, 650), (300, 650))
    )
    notch = walk((0, 650, 50), (2, 650, 300), (4, 650, 300), (2, 650, 50))
    assert visits(notch, zone) == []
    assert len(visits(walk((0, 400, 50), (2, 400, 300), (4, 400, 300), (2, 400, 50)), zone)) == 1


def test_going_in_twice_is_two_visits_with_ids_of_their_own():
    frames = walk((0, 200, 350), (2, 600, 350), (2, 200, 350), (2, 200, 350), (2, 600, 350), (2, 200, 350))
    found = visits(frames)
    assert [visit.sequence for visit in found] == [0, 1]
    assert len({visit.id for visit in found}) == 2


@pytest.mark.parametrize(
    ("polygon", "problem"),
    [
        (((0, 0), (1, 1), (1, 0), (0, 1)), "crosses"),
        (((0, 0), (1, 1)), "at least 3"),
        (((0, 0), (1.2, 1), (1, 0)), "outside"),
    ],
)
def test_a_zone_that_cannot_be_counted_is_refused_with_a_hint(polygon, problem):
    with pytest.raises(GeometryError, match=problem) as refused:
        Zone("z", polygon)
    assert refused.value.hint
    assert refused.value.field == "zones[z].polygon"
