"""Live totals, and what waits for a WebSocket client."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_analytics.live.client import ClientQueue, SlowClientError
from countline_analytics.live.totals import LiveCamera, LiveCrossing, Totals
from countline_common.site_zones import SiteZones

NOW = datetime(2026, 10, 25, 10, tzinfo=UTC)


def camera(camera_id: str = "cam-1", zone: str = "Europe/Berlin", lines: tuple[str, ...] = ("gate",)) -> LiveCamera:
    return LiveCamera.at(camera_id, SiteZones.of(zone), lines, NOW)


def crossing(sequence: int, t: datetime = NOW, direction: str = "in", line: str = "gate") -> LiveCrossing:
    return LiveCrossing(sequence, f"{sequence:032x}", "cam-1", line, direction, "person", t, t)


@given(st.lists(st.tuples(st.sampled_from(["in", "out"]), st.sampled_from(["gate", "door"])), max_size=30))
def test_a_snapshot_followed_by_crossings_is_the_later_snapshot(moves) -> None:
    totals = Totals(10, [camera()])
    followed = {"gate": {"in": 0, "out": 0}}
    for number, (direction, line) in enumerate(moves, 11):
        message = totals.add(crossing(number, direction=direction, line=line))
        followed[line] = {"in": message["in"], "out": message["out"]}
    assert totals.snapshot()["cameras"]["cam-1"] == followed
    assert totals.snapshot()["sequence"] == 10 + len(moves)


def test_a_crossing_of_another_day_has_its_number_and_changes_no_total() -> None:
    totals = Totals(0, [camera()])
    message = totals.add(crossing(1, NOW - timedelta(days=1)))
    assert (message["sequence"], message["in"], message["out"]) == (1, 0, 0)


def test_a_crossing_out_of_order_is_a_fault() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        Totals(5, [camera()]).add(crossing(7))


def test_the_day_is_that_of_the_site_across_the_change_of_clocks() -> None:
    """2026-10-25 has 25 hours in Berlin and begins two hours before midnight UTC."""
    found = camera()
    assert found.day == date(2026, 10, 25)
    assert found.end - found.start == timedelta(hours=25)
    totals = Totals(0, [found])
    assert totals.is_current(datetime(2026, 10, 25, 22, 59, tzinfo=UTC))
    assert not totals.is_current(datetime(2026, 10, 25, 23, tzinfo=UTC))


def test_a_line_without_a_crossing_is_there_with_zeros() -> None:
    assert Totals(0, [camera()]).snapshot()["cameras"] == {"cam-1": {"gate": {"in": 0, "out": 0}}}


async def test_a_client_that_does_not_keep_up_with_counts_is_cut_off() -> None:
    queue = ClientQueue(reliable_limit=3)
    for number in range(4):
        queue.put(str(number))
    with pytest.raises(SlowClientError):
        await queue.get()


async def test_newer_pictures_overwrite_older_ones_and_counts_go_first() -> None:
    queue = ClientQueue()
    for number in range(9):
        queue.put_lossy("preview:a", b"picture %d" % number)
    queue.put("count")
    assert [await queue.get() for _ in range(3)] == ["count", b"picture 7", b"picture 8"]
    assert queue.dropped == 7


async def test_each_channel_gets_its_turn() -> None:
    queue = ClientQueue()
    for number in range(2):
        for channel in ("a", "b", "c"):
            queue.put_lossy(channel, f"{channel}{number}")
    assert [await queue.get() for _ in range(6)] == ["a0", "b0", "c0", "a1", "b1", "c1"]


async def test_waiting_for_a_message_ends_when_one_comes() -> None:
    queue = ClientQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put("late")
    assert await waiting == "late"
