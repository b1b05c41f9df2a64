"""Origins and destinations as they are asked for over REST, from records in the stream."""

import random
from collections.abc import Callable

import pytest
from tests.fixtures.analytics.factory import NOON, crossing, record, span, visit
from tests.fixtures.analytics.stack import Stack, until

from countline_common.times import rfc3339, to_timestamp
from countline_counting.events import Crossing, Direction, Visit
from countline_counting.rule.flows import Flows

Scalar = Callable[..., object]
FLOWS = "analytics/flows"
SPAN = {"camera_id": "cam-1", "start": rfc3339(NOON - 60), "end": rfc3339(NOON + 3600)}


async def until_written(scalar: Scalar, events: int) -> None:
    def count() -> object:
        return scalar("SELECT (SELECT count(*) FROM analytics.crossings) + (SELECT count(*) FROM analytics.visits)")

    await until(lambda: count() == events)


async def test_objects_flow_from_the_first_thing_that_they_met_to_the_last(stack: Stack, scalar: Scalar) -> None:
    await stack.publish(
        record(
            crossing(1, NOON, line="south"),
            crossing(1, NOON + 9, line="north", direction="out"),
            crossing(2, NOON, line="south"),
            crossing(2, NOON + 5, line="north", direction="out"),
            crossing(3, NOON + 1, line="south", kind="bus"),
            visits=[visit(1, NOON + 4, 1.0), visit(4, NOON + 2, 6.0)],
            coverage=[span(NOON, NOON + 1769)],
        )
    )
    await until_written(scalar, 7)
    data = await stack.get(FLOWS, **{**SPAN, "start": rfc3339(NOON), "end": rfc3339(NOON + 3540)})
    assert [(f["origin"], f["destination"], f["class_name"], f["count"], f.get("mean_s")) for f in data["flows"]] == [
        ("", "line:south:in", "bus", 1, None),
        ("", "zone:hall", "person", 1, None),
        ("line:south:in", "line:north:out", "person", 2, 7),
    ]
    assert data["coverage"] == pytest.approx(0.5)


async def test_an_object_belongs_to_the_span_in_which_it_met_its_destination(stack: Stack, scalar: Scalar) -> None:
    """So that two spans that adjoin hold everybody once, and who was under way at the seam is whole in one of them."""
    await stack.publish(record(crossing(1, NOON - 5, line="south"), crossing(1, NOON + 5, line="north")))
    await until_written(scalar, 2)
    before = await stack.get(FLOWS, camera_id="cam-1", start=rfc3339(NOON - 60), end=rfc3339(NOON))
    after = await stack.get(FLOWS, camera_id="cam-1", start=rfc3339(NOON), end=rfc3339(NOON + 60))
    assert before["flows"] == []
    assert [(flow["origin"], flow["destination"]) for flow in after["flows"]] == [("line:south:in", "line:north:in")]


async def test_the_same_track_number_of_another_epoch_or_run_is_another_object(stack: Stack, scalar: Scalar) -> None:
    await stack.publish(
        record(crossing(1, NOON, line="south")),
        record(crossing(1, NOON + 5, line="north", salt="b"), run="run-2"),
        record(crossing(1, NOON + 8, line="east", salt="c"), epoch=2, hand_over_at=to_timestamp(NOON + 7)),
        record(crossing(1, NOON + 7.5, line="north", salt="stale"), run="run-2"),
    )
    await until_written(scalar, 4)
    flows = (await stack.get(FLOWS, **SPAN))["flows"]
    assert [(flow["origin"], flow["destination"], flow["count"]) for flow in flows] == [
        ("", "line:east:in", 1),
        ("", "line:north:in", 1),
        ("", "line:south:in", 1),
    ]


@pytest.mark.parametrize("seed", range(2))
async def test_the_database_tells_the_flows_that_counting_tells(stack: Stack, scalar: Scalar, seed: int) -> None:
    chance = random.Random(seed)
    flows, crossings, visits = Flows(), [], []
    for number in range(60):
        track, t = chance.randrange(12), NOON + chance.randrange(600)
        if chance.random() < 0.6:
            line, way = chance.choice(["a", "b"]), chance.choice(["in", "out"])
            event = crossing(track, t, line=line, direction=way, salt=str(number))
            crossings.append(event)
            flows.add(Crossing("", line, 1, track, 0, t, t, 0, Direction(way), 0, 0.9, False))
        else:
            zone, dwell_s, lost = chance.choice(["y", "z"]), chance.randrange(20) / 2, chance.random() < 0.3
            event = visit(track, t, dwell_s, zone=zone, lost_inside=lost)
            event.visit_id = f"{number:032x}"
            visits.append(event)
            flows.add(Visit("", zone, 1, track, 0, t, None, dwell_s, 0, t, False, lost, False))
    flows.end_run()
    await stack.publish(record(*crossings, visits=visits))
    await until_written(scalar, 60)
    found = (await stack.get(FLOWS, **SPAN))["flows"]
    expected = [(f.origin, f.destination, f.count) for f in flows.total()]
    assert [(f["origin"], f["destination"], f["count"]) for f in found] == expected
    for flow, sure in zip(found, flows.total(), strict=True):
        assert flow.get("mean_s") == (None if sure.mean_s is None else pytest.approx(sure.mean_s, abs=1e-5))


async def test_what_is_not_there_or_cannot_be_asked_is_refused(stack: Stack, scalar: Scalar) -> None:
    await stack.publish(record(crossing(1, NOON)))
    await until_written(scalar, 1)
    status, body = await stack.call("GET", FLOWS)
    assert (status, body["errors"][0]["field"]) == (400, "camera_id")
    assert (await stack.call("GET", FLOWS, params={"camera_id": "cam-9"}))[0] == 404
    empty = {"camera_id": "cam-1", "start": rfc3339(NOON), "end": rfc3339(NOON)}
    assert (await stack.call("GET", FLOWS, params=empty))[0] == 400
