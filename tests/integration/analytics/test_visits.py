"""Visits as they are asked for over REST, from records in the stream."""

from collections.abc import Callable

from tests.fixtures.analytics.factory import NOON, crossing, record, visit
from tests.fixtures.analytics.stack import Stack, until

from countline_common.times import rfc3339, to_timestamp

Scalar = Callable[..., object]
VISITS = "analytics/visits"


async def until_visited(scalar: Scalar, visits: int) -> None:
    await until(lambda: scalar("SELECT count(*) FROM analytics.visits") == visits)


async def test_visits_are_listed_newest_first_page_by_page(stack: Stack, scalar: Scalar) -> None:
    visits = [visit(i, NOON + i % 7, 2.0 + i % 3) for i in range(40)]
    await stack.publish(record(visits=visits[:20]), record(visits=visits[20:], camera="cam-2"))
    await until_visited(scalar, 40)
    seen: list[dict] = []
    token = ""
    while True:
        data = await stack.get(VISITS, page_size=7, page_token=token)
        seen += data["visits"]
        token = data["next_page_token"]
        if not token:
            break
    assert [each["left_at"] for each in seen] == sorted((each["left_at"] for each in seen), reverse=True)
    assert {each["visit_id"] for each in seen} == {each.visit_id for each in visits}
    assert len(seen) == 40


async def test_a_visit_says_how_it_began_and_ended(stack: Stack, scalar: Scalar) -> None:
    await stack.publish(record(visits=[visit(1, NOON, 4.5, born_inside=True, lost_inside=True, queue=True)]))
    await until_visited(scalar, 1)
    (found,) = (await stack.get(VISITS, camera_id="cam-1", zone_id="hall"))["visits"]
    assert found["visit_id"] == visit(1, NOON, 4.5).visit_id
    assert (found["entered_at"], found["dwell_s"]) == (rfc3339(NOON), 4.5)
    assert (found["born_inside"], found["lost_inside"], found["queue"]) == (True, True, True)
    assert found.get("left_at") is None


async def test_visits_are_chosen_by_zone_and_by_the_time_of_their_end(stack: Stack, scalar: Scalar) -> None:
    visits = [visit(i, NOON + 10 * i, 5.0, zone=zone) for i in range(6) for zone in ("hall", "yard")]
    await stack.publish(record(visits=visits), record(visits=visits))
    await until_visited(scalar, 12)
    data = await stack.get(VISITS, zone_id="yard", start=rfc3339(NOON + 15), end=rfc3339(NOON + 35))
    assert [(each["zone_id"], each["entered_at"]) for each in data["visits"]] == [
        ("yard", rfc3339(NOON + 20)),
        ("yard", rfc3339(NOON + 10)),
    ]


async def test_visits_of_a_worker_that_was_taken_over_are_not_listed(stack: Stack, scalar: Scalar) -> None:
    await stack.publish(
        record(visits=[visit(1, NOON, 5.0), visit(2, NOON + 8, 5.0)]),
        record(visits=[visit(3, NOON + 11, 5.0)], epoch=2, run="run-2", hand_over_at=to_timestamp(NOON + 10)),
    )
    await until_visited(scalar, 3)
    found = (await stack.get(VISITS))["visits"]
    assert [each["visit_id"] for each in found] == [visit(3, 0, 0).visit_id, visit(1, 0, 0).visit_id]


async def test_what_is_not_there_or_cannot_be_asked_is_refused(stack: Stack, scalar: Scalar) -> None:
    await stack.publish(record(crossing(1, NOON), visits=[visit(1, NOON, 5.0)]))
    await until_visited(scalar, 1)
    for params, status, code in (
        ({"camera_id": "cam-9"}, 404, "NOT_FOUND"),
        ({"camera_id": "cam-1", "zone_id": "attic"}, 404, "NOT_FOUND"),
        ({"page_size": "1001"}, 400, "INVALID_ARGUMENT"),
        ({"page_token": "nonsense"}, 400, "INVALID_ARGUMENT"),
    ):
        given, body = await stack.call("GET", VISITS, params=params)
        assert (given, body["errors"][0]["code"]) == (status, code), params
    assert (await stack.call("GET", VISITS, token=stack.token("camera:read")))[0] == 403


async def test_a_crossing_is_listed_with_its_speed_and_direction_of_travel(stack: Stack, scalar: Scalar) -> None:
    fast = crossing(1, NOON + 1)
    fast.speed_m_per_s, fast.heading_deg = 1.4, 0.0
    await stack.publish(record(crossing(2, NOON), fast))
    await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 2)
    first, second = (await stack.get("analytics/crossings"))["crossings"]
    assert (first["speed_m_per_s"], first["heading_deg"]) == (1.4, 0.0)
    assert second.get("speed_m_per_s") is None
