"""Counts as they are asked for over REST, from records in the stream."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fixtures.analytics.cameras import TRUTH, add_camera
from tests.fixtures.analytics.factory import NOON, crossing, record, span
from tests.fixtures.analytics.stack import Stack, until

from countline_analytics.store.rollups import find_rollups
from countline_common.times import rfc3339

Scalar = Callable[..., object]
COUNTS = "analytics/counts"


async def until_counted(scalar: Scalar, crossings: int) -> None:
    await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == crossings)


def total(data: dict, direction: str = "in") -> int:
    return sum(bucket[direction] for bucket in data["buckets"])


async def test_minutes_without_a_crossing_are_there_with_zeros(stack: Stack, scalar: Scalar) -> None:
    await stack.publish(record(crossing(1, NOON + 65), crossing(2, NOON + 70, direction="out")))
    await until_counted(scalar, 2)
    data = await stack.get(COUNTS, camera_id="cam-1", bucket="1m", start=rfc3339(NOON), end=rfc3339(NOON + 240))
    assert [(bucket["in"], bucket["out"]) for bucket in data["buckets"]] == [(0, 0), (1, 1), (0, 0), (0, 0), (0, 0)]
    assert data["time_zone"] == "Europe/Berlin"
    assert data["buckets"][0]["start"] == "2026-05-28T20:26:00.000000Z"


async def test_a_line_that_nothing_has_crossed_yet_is_there_with_zeros(stack: Stack) -> None:
    await add_camera(stack)
    data = await stack.get(COUNTS, camera_id="cam-1", bucket="1h")
    assert {bucket["line_id"] for bucket in data["buckets"]} == {"gate", "door"}
    assert total(data) == 0


async def test_what_is_not_there_is_not_found(stack: Stack) -> None:
    await add_camera(stack)
    status, body = await stack.call("GET", COUNTS, params={"camera_id": "cam-9"})
    assert (status, body["errors"][0]["code"]) == (404, "NOT_FOUND")
    status, body = await stack.call("GET", COUNTS, params={"camera_id": "cam-1", "line_id": "window"})
    assert (status, body["errors"][0]["code"]) == (404, "NOT_FOUND")
    assert set(body) == {"success", "request_id", "errors"}


async def test_groups_split_the_same_total(stack: Stack, scalar: Scalar) -> None:
    kinds = ["person", "car", "bus"]
    events = [crossing(i, NOON + i, line=line, kind=kinds[i % 3], direction="in" if i % 5 else "out")
              for i, line in enumerate(["gate", "door"] * 30)]  # fmt: skip
    await stack.publish(record(*events))
    await until_counted(scalar, 60)
    span_of = {"start": rfc3339(NOON - 60), "end": rfc3339(NOON + 120), "bucket": "15m"}
    for groups, rows in {"line": 2, "class": 3, "direction": 2, "line,class": 6, "line,direction,class": 12}.items():
        data = await stack.get(COUNTS, group_by=groups, **span_of)
        series = {(b["line_id"], b["class_name"], b["direction"]) for b in data["buckets"]}
        assert (total(data), total(data, "out")) == (48, 12)
        assert len(series) == rows


async def test_late_events_show_in_the_bucket_they_fall_into_however_old_it_is(
    stack: Stack, scalar: Scalar, engine: AsyncEngine
) -> None:
    rollups = await find_rollups(engine)
    old = NOON - 200 * 86400
    await stack.publish(record(crossing(1, old), crossing(2, NOON)))
    await until_counted(scalar, 2)
    assert await rollups.refresh() > 0
    assert scalar("SELECT count(*) FROM analytics.changed_buckets") == 0
    where = {"camera_id": "cam-1", "start": rfc3339(old - 60), "end": rfc3339(old + 60)}
    assert total(await stack.get(COUNTS, bucket="1m", **where)) == 1

    await stack.publish(record(crossing(3, old + 1), sequence=1))
    await until_counted(scalar, 3)
    for size in ("1m", "15m", "1h", "1d", "1mo"):
        data = await stack.get(COUNTS, bucket=size, **where)
        assert total(data) == 2, size
    await rollups.refresh()
    assert scalar("SELECT sum(count)::int FROM analytics.rollup_15m") == 3
    for size in ("1m", "15m", "1h", "1d", "1mo"):
        assert total(await stack.get(COUNTS, bucket=size, **where)) == 2, size


async def test_a_bucket_that_changed_after_it_was_final_says_so(stack: Stack, scalar: Scalar) -> None:
    now = datetime.now(UTC)
    await stack.publish(record(crossing(1, NOON), crossing(2, now.timestamp())))
    await until_counted(scalar, 2)
    then = await stack.get(COUNTS, bucket="1m", start=rfc3339(NOON - 60), end=rfc3339(NOON + 1))
    assert [bucket["state"] for bucket in then["buckets"]] == ["final", "corrected"]
    today = await stack.get(COUNTS, bucket="1m", start=(now - timedelta(minutes=1)).isoformat())
    assert today["buckets"][-1]["state"] == "provisional"


async def test_a_number_comes_with_its_coverage(stack: Stack, scalar: Scalar) -> None:
    hour = NOON - NOON % 3600
    pieces = [record(coverage=[span(hour + 10 * i, hour + 10 * i + 9.96)], sequence=i) for i in range(240)]
    await stack.publish(*pieces)
    await until(lambda: scalar("SELECT sum(covered_until - start_t) > '2400 s' FROM analytics.coverage"))
    data = await stack.get(
        COUNTS, camera_id="cam-1", group_by="direction", start=rfc3339(hour), end=rfc3339(hour + 3600)
    )
    assert [bucket["coverage"] for bucket in data["buckets"]] == [pytest.approx(2 / 3, abs=0.001)] * 2


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
async def test_days_on_which_clocks_are_set_add_up_to_their_crossings(stack: Stack, scalar: Scalar, zone: str) -> None:
    """One crossing each quarter of an hour over the two days around both changes of clocks of the year."""
    changes = {"Europe/Berlin": [(3, 29), (10, 25)], "America/New_York": [(3, 8), (11, 1)],
               "Australia/Lord_Howe": [(4, 5), (10, 4)]}[zone]  # fmt: skip
    moments = [
        datetime(2026, month, day, tzinfo=UTC) + timedelta(minutes=15 * quarter)
        for month, day in changes
        for quarter in range(-96, 192)
    ]
    events = [crossing(i, moment.timestamp() + 60) for i, moment in enumerate(moments)]
    await stack.publish(record(*events, time_zone=zone))
    await until_counted(scalar, len(events))
    for month, day in changes:
        inside = datetime(2026, month, day, 12, tzinfo=UTC) - timedelta(hours=10 if "Lord" in zone else 0)
        days = await stack.get(COUNTS, camera_id="cam-1", bucket="1d", start=inside.isoformat(),
                               end=(inside + timedelta(seconds=1)).isoformat())  # fmt: skip
        (bucket,) = days["buckets"]
        hours = await stack.get(COUNTS, camera_id="cam-1", bucket="1h", start=bucket["start"], end=bucket["end"])
        length = datetime.fromisoformat(bucket["end"]) - datetime.fromisoformat(bucket["start"])
        assert bucket["in"] == length / timedelta(minutes=15) == total(hours)
        assert length != timedelta(days=1)


async def test_too_many_buckets_are_refused_with_the_hint(stack: Stack) -> None:
    await add_camera(stack)
    query = {"bucket": "1m", "start": "2020-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}
    status, body = await stack.call("GET", COUNTS, params=query)
    assert status == 400
    assert "limit" in body["errors"][0]["message"] or "more than" in body["errors"][0]["message"]


async def test_crossings_are_listed_newest_first_page_by_page(stack: Stack, scalar: Scalar) -> None:
    events = [crossing(i, NOON + i % 7) for i in range(40)]
    await stack.publish(record(*events[:20]), record(*events[20:], camera="cam-2"))
    await until_counted(scalar, 40)
    seen: list[dict] = []
    token = ""
    while True:
        data = await stack.get("analytics/crossings", page_size=7, page_token=token)
        seen += data["crossings"]
        token = data["next_page_token"]
        if not token:
            break
    assert [each["t"] for each in seen] == sorted((each["t"] for each in seen), reverse=True)
    assert {each["crossing_id"] for each in seen} == {each.crossing_id for each in events}
    assert len(seen) == 40


async def test_truth_is_kept_listed_and_deleted(stack: Stack) -> None:
    await add_camera(stack)
    truth = {**TRUTH, "source": "rendered"}
    created = await stack.post("cameras/cam-1/truth", truth)
    assert (await stack.get("cameras/cam-1/truth"))["truth_sets"] == [created]
    status, body = await stack.call("POST", "cameras/cam-1/truth", json=truth)
    assert (status, body["errors"][0]["code"]) == (409, "ALREADY_EXISTS")
    path = f"cameras/cam-1/truth/{created['truth_set_id']}"
    assert (await stack.call("DELETE", path))[0] == 200
    assert (await stack.call("DELETE", path))[0] == 404
    assert (await stack.get("cameras/cam-1/truth"))["truth_sets"] == []


async def test_a_truth_that_cannot_be_is_refused_field_by_field(stack: Stack) -> None:
    await add_camera(stack)
    truth = {"line_id": "gate", "duration_s": 20, "crossings": [{"t": 25, "direction": "up"}]}
    status, body = await stack.call("POST", "cameras/cam-1/truth", json=truth)
    assert status == 400
    assert {error["field"] for error in body["errors"]} == {"start", "crossings[0].t", "crossings[0].direction"}


async def test_counts_are_held_against_the_truth_over_what_was_covered(stack: Stack, scalar: Scalar) -> None:
    """A clip of 20 s in a loop, processed for 200 s with a hole of 30 s in it; one crossing missed, one false."""
    await add_camera(stack)
    truth = {**TRUTH, "start": rfc3339(NOON)}
    await stack.post("cameras/cam-1/truth", truth)
    expected = [(NOON + 20 * k + t, direction) for k in range(10) for t, direction in ((5, "in"), (12.5, "out"))]
    hole = (NOON + 80, NOON + 110)
    counted = [(t + 0.2, direction) for t, direction in expected if not hole[0] <= t <= hole[1]]
    counted.remove((NOON + 145.2, "in"))
    counted.append((NOON + 150, "out"))
    events = [crossing(i, t, direction=direction) for i, (t, direction) in enumerate(counted)]
    await stack.publish(record(*events, coverage=[span(NOON, hole[0]), span(hole[1], NOON + 200)]))
    await until_counted(scalar, len(events))
    data = await stack.get("analytics/verify", start=rfc3339(NOON), end=rfc3339(NOON + 300))
    (camera,) = data["cameras"]
    assert camera["lines"] == [
        {
            "line_id": "gate",
            "in": {"counted": 7, "true": 8, "missed": 1, "false": 0},
            "out": {"counted": 9, "true": 8, "missed": 0, "false": 1},
        }
    ]
    assert camera["verified_s"] == pytest.approx(80 - 6 + 90 - 6)
