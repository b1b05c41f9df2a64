"""Buckets by the wall clock."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_analytics.questions.buckets import SIZES, TooManyBucketsError, check_size, edges
from countline_common.errors import InvalidInputError
from countline_common.site_zones import SiteZones

MOMENTS = st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo", "UTC"]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def lengths(size: str, start: datetime, end: datetime, zone: str) -> list[float]:
    """Lengths of the buckets in hours."""
    found = edges(size, start, end, SiteZones.of(zone))
    return [(b - a) / timedelta(hours=1) for a, b in pairwise(found)]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("America/New_York", (2026, 3, 8), 23),
        ("America/New_York", (2026, 11, 1), 25),
        ("Australia/Lord_Howe", (2026, 4, 5), 24.5),  # clocks there go back by half an hour
        ("Australia/Lord_Howe", (2026, 10, 4), 23.5),
        ("Asia/Kathmandu", (2026, 6, 1), 24),
    ],
)
def test_days_on_which_clocks_are_set_are_shorter_or_longer_and_their_hours_add_up(zone, day, hours) -> None:
    start = SiteZones.of(zone).start_of_day(date(*day))
    inside = start + timedelta(hours=12)
    assert lengths("1d", inside, inside + timedelta(minutes=1), zone) == [hours]
    end = start + timedelta(hours=hours)
    assert sum(lengths("1h", start, end, zone)) == hours


def test_the_hour_that_comes_twice_is_two_buckets() -> None:
    found = edges("1h", utc(2026, 10, 24, 23), utc(2026, 10, 25, 3), SiteZones.of("Europe/Berlin"))
    assert [edge.astimezone(ZoneInfo("Europe/Berlin")).hour for edge in found] == [1, 2, 2, 3, 4]


def test_hours_of_a_zone_with_an_odd_offset_begin_at_its_own_full_hours() -> None:
    found = edges("1h", utc(2026, 6, 1, 10, 20), utc(2026, 6, 1, 11), SiteZones.of("Asia/Kathmandu"))
    assert found == [utc(2026, 6, 1, 10, 15), utc(2026, 6, 1, 11, 15)]


def test_a_day_whose_midnight_is_skipped_begins_when_clocks_are_set() -> None:
    """Clocks of Sao Paulo went from 0:00 to 1:00 on 2018-11-04."""
    assert SiteZones.of("America/Sao_Paulo").start_of_day(date(2018, 11, 4)) == utc(2018, 11, 4, 3)


def test_a_date_that_a_zone_skipped_gives_no_bucket() -> None:
    """Samoa went from 2011-12-29 to 2011-12-31."""
    found = edges("1d", utc(2011, 12, 29, 12), utc(2012, 1, 1, 12), SiteZones.of("Pacific/Apia"))
    assert len(set(found)) == len(found)


def test_months_have_their_own_lengths() -> None:
    assert lengths("1mo", utc(2026, 2, 10), utc(2026, 3, 10), "Europe/Berlin") == [28 * 24, 31 * 24 - 1]


def test_buckets_that_hold_a_part_of_the_span_are_whole() -> None:
    assert edges("15m", utc(2026, 1, 1, 0, 7), utc(2026, 1, 1, 0, 16), SiteZones.of("UTC")) == [
        utc(2026, 1, 1),
        utc(2026, 1, 1, 0, 15),
        utc(2026, 1, 1, 0, 30),
    ]


@given(
    st.sampled_from(list(SIZES)),
    st.sampled_from(ZONES),
    MOMENTS,
    st.timedeltas(timedelta(seconds=1), timedelta(days=3)),
)
def test_buckets_cover_the_span_without_gap_or_overlap(size, zone, start, span) -> None:
    found = edges(size, start, start + span, SiteZones.of(zone))
    assert found == sorted(set(found))
    assert found[0] <= start < found[1]
    assert found[-2] < start + span <= found[-1]
    assert all(edge.timestamp() % (60 if size == "1m" else 900) == 0 for edge in found)


@given(st.sampled_from(ZONES), MOMENTS)
def test_hours_lie_within_days_and_days_within_months(zone, start) -> None:
    end = start + timedelta(days=2)
    hours, days, months = (set(edges(size, start, end, SiteZones.of(zone))) for size in ("1h", "1d", "1mo"))
    assert {edge for edge in days if min(hours) <= edge <= max(hours)} <= hours
    assert {edge for edge in months if min(days) <= edge <= max(days)} <= days


def test_more_buckets_than_anybody_can_look_at_are_refused() -> None:
    with pytest.raises(TooManyBucketsError, match="limit") as caught:
        edges("1m", utc(2000, 1, 1), utc(2026, 1, 1), SiteZones.of("UTC"))
    assert caught.value.hint


def test_an_unknown_size_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_size("7m")
    assert "1m, 15m, 1h, 1d, 1mo" in caught.value.fields[0].message


def changed(before: str, after: str, first_day: date) -> SiteZones:
    return SiteZones.of(after, [(before, first_day)])


@pytest.mark.parametrize(
    ("before", "after", "hours_of_the_day_before"),
    [("UTC", "Europe/Berlin", 23), ("UTC", "America/New_York", 29), ("Etc/GMT+12", "Etc/GMT-14", 0)],
)
def test_a_zone_that_changes_from_a_date_on_leaves_every_date_one_day(before, after, hours_of_the_day_before) -> None:
    zones = changed(before, after, date(2026, 2, 3))
    found = edges("1d", utc(2026, 2, 1, 12), utc(2026, 2, 5, 12), zones)
    assert found == sorted(set(found))
    days = [zones.day_of(edge) for edge in found]
    assert days == sorted(set(days))
    last = (zones.start_of_day(date(2026, 2, 3)) - zones.start_of_day(date(2026, 2, 2))) / timedelta(hours=1)
    assert last == hours_of_the_day_before
    assert zones.start_of_day(date(2026, 2, 3)) == datetime(2026, 2, 3, tzinfo=ZoneInfo(after)).astimezone(UTC)


@given(MOMENTS, st.sampled_from(ZONES), st.sampled_from(ZONES), st.dates(date(2005, 1, 1), date(2034, 12, 31)))
def test_each_moment_lies_in_the_day_that_it_belongs_to(moment, before, after, first_day) -> None:
    zones = changed(before, after, first_day)
    day = zones.day_of(moment)
    assert zones.start_of_day(day) <= moment < zones.start_of_day(day + timedelta(days=1))
    start, end = moment - timedelta(days=1), moment + timedelta(days=1)
    hours, days = (set(edges(size, start, end, zones)) for size in ("1h", "1d"))
    assert {edge for edge in days if min(hours) <= edge <= max(hours)} <= hours
