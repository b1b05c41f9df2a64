"""How full zones were, as it is asked for over REST, from records in the stream."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.fixtures.analytics.factory import NOON, record, sample, span, visit
from tests.fixtures.analytics.stack import Stack, until

from countline_common.times import rfc3339, to_timestamp

Scalar = Callable[..., object]
OCCUPANCY = "analytics/occupancy"
MINUTE = NOON - NOON % 60
CAMERA = {
    "camera_id": "cam-1",
    "site_id": "demo",
    "name": "Camera",
    "stream_url": "rtsp://127.0.0.1/1",
    "spec": {
        "zones": [{"zone_id": "hall", "polygon": [{"x": 0.1, "y": 0.1}, {"x": 0.9, "y": 0.1}, {"x": 0.9, "y": 0.9}]}],
    },
}


async def until_sampled(scalar: Scalar, samples: int) -> None:
    await until(lambda: scalar("SELECT count(*) FROM analytics.occupancy") == samples)


async def minutes(stack: Stack, count: int, start: float = MINUTE, **params: object) -> list[dict]:
    asked = {"start": rfc3339(start), "end": rfc3339(start + 60 * count), "bucket": "1m", **params}
    return (await stack.get(OCCUPANCY, **asked))["buckets"]


def numbers(bucket: dict) -> tuple:
    return bucket.get("min"), bucket.get("max"), bucket.get("mean")


async def test_the_mean_is_taken_over_time_and_not_over_samples(stack: Stack, scalar: Scalar) -> None:
    samples = [sample(MINUTE, 0), sample(MINUTE + 50, 5), sample(MINUTE + 51, 6), sample(MINUTE + 52, 2)]
    await stack.publish(record(occupancy=samples, coverage=[span(MINUTE, MINUTE + 120)]))
    await until_sampled(scalar, 4)
    first, second = await minutes(stack, 2)
    assert numbers(first) == (0, 6, pytest.approx((5 + 6 + 8 * 2) / 60, abs=1e-6))
    assert numbers(second) == (2, 2, 2)
    assert (first["coverage"], second["coverage"]) == (1, 1)


async def test_a_camera_that_was_down_has_no_occupancy_then(stack: Stack, scalar: Scalar) -> None:
    """Three people were in the hall when the worker was killed, and one when the next one began two minutes later."""
    await stack.publish(
        record(occupancy=[sample(MINUTE, 3)], coverage=[span(MINUTE, MINUTE + 29)]),
        record(occupancy=[sample(MINUTE + 150, 1)], coverage=[span(MINUTE + 150, MINUTE + 180)], run="run-2"),
    )
    await until_sampled(scalar, 2)
    buckets = await minutes(stack, 3)
    assert [numbers(bucket) for bucket in buckets] == [(3, 3, 3), (None, None, None), (1, 1, 1)]
    assert [bucket["coverage"] for bucket in buckets] == [0.5, 0, 0.5]


async def test_a_zone_in_which_nothing_was_seen_yet_is_there_without_numbers(stack: Stack) -> None:
    await stack.post("sites", {"site_id": "demo", "title": "Demo", "time_zone": "Europe/Berlin"})
    await stack.post("cameras", CAMERA)
    data = await stack.get(OCCUPANCY, bucket="1h")
    assert {bucket["zone_id"] for bucket in data["buckets"]} == {"hall"}
    assert data["time_zone"] == "Europe/Berlin"
    for bucket in data["buckets"]:
        assert numbers(bucket) == (None, None, None)
        assert (bucket["entries"], bucket["exits"], bucket.get("mean_dwell_s")) == (0, 0, None)


async def test_entries_and_exits_fall_into_their_own_buckets(stack: Stack, scalar: Scalar) -> None:
    visits = [
        visit(1, MINUTE + 10, 20.0),
        visit(2, MINUTE + 50, 30.0),
        visit(3, MINUTE, 90.0, born_inside=True),
        visit(4, MINUTE + 70, 10.0, lost_inside=True),
        visit(5, MINUTE + 10, 5.0, zone="yard"),
    ]
    await stack.publish(record(visits=visits, coverage=[span(MINUTE, MINUTE + 120)]))
    await until(lambda: scalar("SELECT count(*) FROM analytics.visits") == 5)
    first, second = await minutes(stack, 2, zone_id="hall")
    counts = [(b["entries"], b["born_inside"], b["exits"], b["lost_inside"]) for b in (first, second)]
    assert counts == [(2, 1, 1, 0), (1, 0, 2, 1)]
    assert (first["mean_dwell_s"], first["max_dwell_s"]) == (20, 20)
    assert (second["mean_dwell_s"], second["max_dwell_s"]) == (pytest.approx(130 / 3), 90)


async def test_what_a_worker_saw_that_was_taken_over_does_not_count(stack: Stack, scalar: Scalar) -> None:
    await stack.publish(
        record(
            occupancy=[sample(MINUTE, 1), sample(MINUTE + 40, 9)],
            coverage=[span(MINUTE, MINUTE + 60)],
            visits=[visit(1, MINUTE + 1, 45.0)],
        ),
        record(
            occupancy=[sample(MINUTE + 30, 2)],
            coverage=[span(MINUTE + 30, MINUTE + 60)],
            epoch=2,
            run="run-2",
            hand_over_at=to_timestamp(MINUTE + 30),
        ),
    )
    await until_sampled(scalar, 3)
    (bucket,) = await minutes(stack, 1)
    assert numbers(bucket) == (1, 2, 1.5)
    assert (bucket["entries"], bucket["exits"]) == (0, 0)


async def test_now_is_the_last_number_while_the_camera_is_watched(stack: Stack, scalar: Scalar) -> None:
    now = time.time()
    living = record(occupancy=[sample(now - 30, 1), sample(now - 3, 4)], coverage=[span(now - 30, now - 2)])
    dead = record(occupancy=[sample(now - 300, 7)], coverage=[span(now - 300, now - 60)], camera="cam-2")
    await stack.publish(living, dead)
    await until_sampled(scalar, 3)
    buckets = (await stack.get(OCCUPANCY, bucket="1d"))["buckets"]
    current = {bucket["camera_id"]: bucket.get("now") for bucket in buckets}  # the last bucket of each camera
    assert current == {"cam-1": 4, "cam-2": None}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
async def test_days_on_which_clocks_are_set_are_weighed_by_their_length(
    stack: Stack, scalar: Scalar, zone: str
) -> None:
    month, day, hours = {"Europe/Berlin": (3, 29, 23), "America/New_York": (11, 1, 25)}[zone]
    begin = datetime(2026, month, day, tzinfo=UTC).timestamp() - 86400
    samples = [sample(begin + 3600 * i, i % 3) for i in range(96)]
    spans = [span(begin + 3600 * i, begin + 3600 * (i + 1), fps=1) for i in range(96)]
    await stack.publish(record(occupancy=samples, coverage=spans, time_zone=zone))
    await until_sampled(scalar, 96)
    inside = datetime(2026, month, day, 16, tzinfo=UTC)
    data = await stack.get(OCCUPANCY, bucket="1d", start=inside.isoformat(),
                           end=(inside + timedelta(seconds=1)).isoformat())  # fmt: skip
    (whole,) = data["buckets"]
    parts = await stack.get(OCCUPANCY, bucket="1h", start=whole["start"], end=whole["end"])
    assert len(parts["buckets"]) == hours
    assert whole["mean"] == pytest.approx(sum(bucket["mean"] for bucket in parts["buckets"]) / hours)


async def test_a_zone_that_was_taken_away_is_shown_as_long_as_somebody_was_in_it(stack: Stack, scalar: Scalar) -> None:
    """It was left by all at the very moment at which the last one had come in; both samples are of that frame."""
    await stack.post("sites", {"site_id": "demo", "title": "Demo", "time_zone": "Europe/Berlin"})
    await stack.post("cameras", CAMERA)
    held = record(occupancy=[sample(MINUTE, 1, zone="attic"), sample(MINUTE + 30, 2, zone="attic")])
    gone = record(occupancy=[sample(MINUTE + 30, 0, zone="attic")], coverage=[span(MINUTE, MINUTE + 180)], sequence=1)
    for message in (held, gone, held):
        await stack.publish(message)
    await until(lambda: scalar("SELECT count(*) FROM analytics.coverage") == 1)
    await until(lambda: scalar("SELECT min(count) FROM analytics.occupancy WHERE t > to_timestamp(%s)", MINUTE) == 0)
    buckets = [bucket for bucket in await minutes(stack, 1) if bucket["zone_id"] == "attic"]
    assert [numbers(bucket) for bucket in buckets] == [(0, 1, 0.5)]
    later = await minutes(stack, 1, MINUTE + 60)
    assert {bucket["zone_id"] for bucket in later} == {"hall"}
    asked = await minutes(stack, 1, MINUTE + 60, camera_id="cam-1", zone_id="attic")
    assert [numbers(bucket) for bucket in asked] == [(0, 0, 0)]


def by_hand(samples: list[tuple[float, int]], spans: list[tuple[float, float]], start: float) -> tuple:
    """Least, most and mean over a minute, moment by moment; times are whole half seconds."""
    seen = []
    for step in range(120):
        t = start + step / 2
        known = [count for at, count in samples if at <= t]
        if known and any(a <= t < b + 1 for a, b in spans):
            seen.append(known[-1])
    return (min(seen), max(seen), pytest.approx(sum(seen) / len(seen), abs=1e-5)) if seen else (None, None, None)


@pytest.mark.parametrize("seed", range(4))
async def test_buckets_are_what_adding_up_moment_by_moment_gives(stack: Stack, scalar: Scalar, seed: int) -> None:
    chance = random.Random(seed)
    given: dict[str, list[tuple[float, int]]] = {}
    edges = sorted(chance.sample(range(1200), 10))
    spans = [(MINUTE + a / 2, MINUTE + b / 2) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    for zone in ("hall", "yard"):
        moments = sorted(chance.sample(range(-400, 1200), chance.randrange(40)))
        given[zone] = [(MINUTE + moment / 2, chance.randrange(6)) for moment in moments]
    rows = [sample(t, count, zone=zone) for zone, samples in given.items() for t, count in samples]
    # One visit a zone, so that both are known even where nothing was sampled.
    visits = [visit(i, MINUTE, 1.0, zone=zone) for i, zone in enumerate(given)]
    await stack.publish(record(occupancy=rows, visits=visits, coverage=[span(a, b) for a, b in spans]))
    await until_sampled(scalar, len(rows))
    for zone, samples in given.items():
        buckets = await minutes(stack, 10, zone_id=zone)
        expected = [by_hand(samples, spans, MINUTE + 60 * i) for i in range(10)]
        assert [numbers(bucket) for bucket in buckets] == expected


async def test_what_is_not_there_or_cannot_be_asked_is_refused(stack: Stack, scalar: Scalar) -> None:
    await stack.publish(record(occupancy=[sample(MINUTE, 0)]))
    await until_sampled(scalar, 1)
    for params, status in (
        ({"camera_id": "cam-9"}, 404),
        ({"zone_id": "attic"}, 404),
        ({"bucket": "2h"}, 400),
        ({"start": rfc3339(NOON), "end": rfc3339(NOON)}, 400),
        ({"bucket": "1m", "start": "2020-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, 400),
    ):
        given, body = await stack.call("GET", OCCUPANCY, params=params)
        assert given == status, (params, body)
