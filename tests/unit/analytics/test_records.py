"""Records as they are read from the stream."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline.v1 import events_pb2
from countline_analytics.ingest.records import MalformedRecordError, decode, halves, letter_of
from countline_analytics.ingest.wire import read_record
from countline_analytics.store.spans import merge
from countline_common.time_zones import find_time_zone
from countline_common.times import to_timestamp
from countline_counting.coverage import CoverageTracker

SUBJECT = "countline.counts.demo.cam-1"


def record(**fields) -> events_pb2.CountRecord:
    return events_pb2.CountRecord(**{"site_id": "demo", "camera_id": "cam-1", "run": "r", **fields})


def crossing(**fields) -> events_pb2.Crossing:
    return events_pb2.Crossing(
        **{
            "crossing_id": "0123456789abcdef0123456789abcdef",
            "line_id": "gate",
            "direction": events_pb2.DIRECTION_IN,
            "t": to_timestamp(5.25),
            "decided_at": to_timestamp(5.5),
            **fields,
        }
    )


def visit(**fields) -> events_pb2.Visit:
    return events_pb2.Visit(
        **{
            "visit_id": "0123456789abcdef0123456789abcdef",
            "zone_id": "hall",
            "entered_at": to_timestamp(5.0),
            "left_at": to_timestamp(8.5),
            "dwell_s": 3.5,
            "decided_at": to_timestamp(9.0),
            **fields,
        }
    )


def refusal(message: events_pb2.CountRecord, subject: str = SUBJECT) -> str:
    with pytest.raises(MalformedRecordError) as caught:
        decode(message.SerializeToString(), subject)
    return caught.value.message


def test_a_crossing_keeps_what_it_says() -> None:
    (row,) = decode(record(crossings=[crossing(class_name="person")]).SerializeToString(), SUBJECT).crossings
    assert (row.t_us, row.decided_at_us, row.direction, row.class_name) == (5_250_000, 5_500_000, "in", "person")
    assert row.event_id.hex() == "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"crossing_id": "0123"}, "event id"),
        ({"crossing_id": "0123456789abcdef 123456789abcdef"}, "event id"),
        ({"crossing_id": "zz23456789abcdef0123456789abcdef"}, "event id"),
        ({"direction": events_pb2.DIRECTION_UNSPECIFIED}, "direction"),
        ({"line_id": ""}, "line_id is empty"),
        ({"line_id": "x" * 300}, "line_id has 300 characters"),
        ({"class_name": "a\0b"}, "control character U+0000"),
        ({"class_name": "\x1b[31m"}, "class_name contains the control character U+001B"),
        ({"line_id": "a\x9b"}, "control character U+009B"),
        ({"score": math.nan}, "score is nan"),
        ({"speed_m_per_s": math.inf}, "speed_m_per_s is inf"),
        ({"heading_deg": -math.inf}, "heading_deg is -inf"),
        ({"heading_deg": 361.0}, "heading_deg is 361"),
        ({"speed_m_per_s": -1.0}, "speed_m_per_s is -1"),
        ({"speed_m_per_s": 1e300}, "speed_m_per_s is 1e+300"),
        ({"score": -0.1}, "score is -0.1"),
        ({"score": 1e300}, "score is 1e+300"),
        ({"line_version": -1}, "line_version is -1"),
        ({"sequence": -1}, "sequence is -1"),
        ({"frame": -(2**63)}, "frame is -9223372036854775808"),
        ({"t": {"seconds": 10**12}}, "no time"),
        ({"t": {"seconds": 5, "nanos": -1}}, "no time"),
    ],
)
def test_a_crossing_that_cannot_be_written_is_refused_with_the_reason(fields, reason) -> None:
    assert reason in refusal(record(crossings=[crossing(**fields)]))


def test_a_record_that_speaks_for_another_camera_is_refused() -> None:
    assert "came on" in refusal(record(), "countline.counts.demo.cam-2")
    assert "came on" in refusal(record(), "countline.counts.other.cam-1")


def test_the_gap_after_a_span_counts_for_a_second_or_two_periods() -> None:
    fast = events_pb2.CoverageSpan(start=to_timestamp(0), end=to_timestamp(10), frames=251, period_s=0.04)
    slow = events_pb2.CoverageSpan(start=to_timestamp(0), end=to_timestamp(10), frames=6, period_s=2.0)
    rows = decode(record(coverage=[fast, slow]).SerializeToString(), SUBJECT).coverage
    assert [row.covered_until_us for row in rows] == [11_000_000, 14_000_000]


@pytest.mark.parametrize("period_s", [-1.0, float("nan"), float("inf"), 1e9])
def test_a_period_that_cannot_be_is_refused(period_s: float) -> None:
    bad = events_pb2.CoverageSpan(start=to_timestamp(0), end=to_timestamp(10), period_s=period_s)
    assert "period_s" in refusal(record(coverage=[bad]))


def test_ingest_bridges_the_gaps_that_the_worker_bridges_and_no_others() -> None:
    """Two estimators of the period: a slow camera's last gap was covered for one second instead of two periods."""
    tracker = CoverageTracker(period_s=0.04)
    spans = []
    for t in (*range(0, 100, 5), 115.0, 120.0):  # one frame every 5 s, and a gap of 20 s
        tracker.add(float(t))
        spans += tracker.cut()
    messages = [
        events_pb2.CoverageSpan(
            start=to_timestamp(span.start), end=to_timestamp(span.end), frames=span.frames, period_s=span.period_s
        )
        for span in spans
    ]
    rows = merge(decode(record(coverage=messages).SerializeToString(), SUBJECT).coverage)
    slow = [row for row in rows if row.end_us - row.start_us > 6_000_000]
    assert [(row.end_us, row.covered_until_us) for row in slow] == [(95_000_000, 105_000_000)]
    assert rows[-1] == (115_000_000, 120_000_000, 130_000_000)


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    backwards = events_pb2.CoverageSpan(start=to_timestamp(10), end=to_timestamp(0))
    assert "span" in refusal(record(coverage=[backwards]))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data) -> None:
    try:
        decode(data, SUBJECT)
    except MalformedRecordError as error:
        assert error.message  # noqa: PT017  (it need not be raised)


def test_a_visit_keeps_how_it_began_and_ended() -> None:
    (row,) = decode(
        record(visits=[visit(born_inside=True, stitched=True, queue=True)]).SerializeToString(), SUBJECT
    ).visits
    assert (row.entered_at_us, row.t_us) == (5_000_000, 8_500_000)
    assert (row.born_inside, row.lost_inside, row.stitched, row.queue) == (True, False, True, True)


def test_a_visit_that_was_never_seen_to_end_counts_at_the_last_sight() -> None:
    """Its end is unset; taken as it stands that was the year 1970."""
    message = visit(lost_inside=True)
    message.ClearField("left_at")
    (row,) = decode(record(visits=[message]).SerializeToString(), SUBJECT).visits
    assert (row.t_us, row.lost_inside) == (8_500_000, True)


@pytest.mark.parametrize("name", ["sequence", "zone_version"])
def test_a_visit_with_a_negative_number_is_refused(name: str) -> None:
    assert f"{name} is -2" in refusal(record(visits=[visit(**{name: -2})]))


def test_a_zone_that_holds_less_than_nobody_is_refused() -> None:
    sample = events_pb2.OccupancySample(zone_id="hall", t=to_timestamp(5.0), count=-1)
    assert "occupancy.count is -1" in refusal(record(occupancy=[sample]))


@pytest.mark.parametrize("dwell_s", [float("nan"), -1.0, float("inf")])
def test_a_visit_of_no_length_is_refused(dwell_s) -> None:
    assert "lasts" in refusal(record(visits=[visit(dwell_s=dwell_s)]))


def test_a_visit_that_left_before_it_entered_is_refused() -> None:
    assert "left before it entered" in refusal(record(visits=[visit(left_at=to_timestamp(4.999), dwell_s=0.0)]))
    decode(record(visits=[visit(left_at=to_timestamp(5.0), dwell_s=0.0)]).SerializeToString(), SUBJECT)


@pytest.mark.parametrize("name", ["Factory", "localtime", "right/Europe/Berlin", "posix/UTC", "Europe", "", "x" * 5000])
def test_what_is_no_time_zone_of_a_place_is_refused(name) -> None:
    assert find_time_zone(name) is None
    if name:
        assert "time_zone" in refusal(record(time_zone=name))


def test_one_bad_row_leaves_the_good_rows_of_its_record() -> None:
    message = record(
        crossings=[crossing(), crossing(direction=events_pb2.DIRECTION_UNSPECIFIED)],
        visits=[visit(dwell_s=-1.0)],
        coverage=[events_pb2.CoverageSpan(start=to_timestamp(10), end=to_timestamp(0))],
    )
    found = decode(message.SerializeToString(), SUBJECT)
    assert (len(found.crossings), found.visits, found.coverage) == (1, [], [])
    assert [(each.field, each.row) for each in found.refused] == [
        ("crossings", message.crossings[1]),
        ("visits", message.visits[0]),
        ("coverage", message.coverage[0]),
    ]


def test_a_row_that_is_no_message_leaves_the_good_rows_of_its_record() -> None:
    """A name in Latin-1 makes a parser refuse the whole record."""
    good = record(crossings=[crossing(), crossing(class_name="K_fer", score=2.0)], epoch=3, sequence=2**40)
    good.hand_over_at.seconds = 7
    latin_1 = crossing(class_name="K?fer").SerializeToString().replace(b"K?fer", b"K\xe4fer")
    mark = crossing(class_name="K_fer").SerializeToString()
    assert len(latin_1) == len(mark)
    good.crossings.insert(1, crossing(class_name="K_fer"))
    data = good.SerializeToString().replace(mark, latin_1, 1)
    found = decode(data, SUBJECT)
    assert (found.epoch, found.hand_over_at_us, len(found.crossings)) == (3, 7_000_000, 1)
    assert [each.field for each in found.refused] == ["crossings", "crossings"]
    head, unreadable = read_record(data)
    assert (head.sequence, len(head.crossings), len(unreadable)) == (2**40, 2, 1)
    letter = letter_of(head, found.refused)
    assert b"K\xe4fer" in letter
    refused, again = read_record(letter)
    assert ([each.score for each in refused.crossings], again) == ([2.0], unreadable)


@pytest.mark.parametrize(
    "head", [b"\x0a\x02\xff\xff", b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x0a\x01\xff", b"\x0a\x09"]
)
def test_a_record_whose_head_is_no_message_is_refused(head: bytes) -> None:
    with pytest.raises(MalformedRecordError, match="not a CountRecord"):
        decode(record(crossings=[crossing()]).SerializeToString() + head, SUBJECT)


def test_a_hand_over_that_is_no_time_is_left_to_the_fences() -> None:
    """Its record holds the first counts of the epoch."""
    message = record(crossings=[crossing()])
    message.hand_over_at.seconds = -(10**15)
    found = decode(message.SerializeToString(), SUBJECT)
    assert (len(found.crossings), found.hand_over_at_us) == (1, -62_135_596_800_000_000)


@given(st.lists(st.sampled_from(["crossings", "visits", "occupancy"]), max_size=9))
def test_halves_hold_every_row_once(fields) -> None:
    message = record()
    for number, field in enumerate(fields):
        row = getattr(message, field).add()
        setattr(row, "count" if field == "occupancy" else "sequence", number)
    parts = halves(message)
    assert len(parts) == (1 if len(fields) < 2 else 2)
    for field in ("crossings", "visits", "occupancy"):
        assert [row for part in parts for row in getattr(part, field)] == list(getattr(message, field))


def test_a_crossing_has_a_speed_where_there_is_a_ground_and_none_where_there_is_not() -> None:
    message = record(crossings=[crossing(), crossing(speed_m_per_s=1.25, heading_deg=0.0)])
    unknown, known = decode(message.SerializeToString(), SUBJECT).crossings
    assert (unknown.speed_m_per_s, unknown.heading_deg) == (None, None)
    assert (known.speed_m_per_s, known.heading_deg) == (1.25, 0.0)


DAY_US = 86_400 * 1_000_000
RECEIVED_US = 1_780_000_000 * 1_000_000


@pytest.mark.parametrize(("epoch", "days", "kept"), [(1, 0.9, 1), (1, 1.1, 0), (0, 30, 1), (0, 33, 0), (2, 27_000, 0)])
@pytest.mark.parametrize("field", ["crossings", "visits", "occupancy", "coverage", "trajectories"])
def test_rows_of_the_future_are_refused_with_their_date(field: str, epoch: int, days: float, kept: int) -> None:
    """A worker whose clock ran ahead dated crossings in 2100. Files may be dated ahead by their length."""
    t = to_timestamp((RECEIVED_US + days * DAY_US) / 1e6)
    rows = {
        "crossings": [crossing(t=t)],
        "visits": [visit(left_at=t)],
        "occupancy": [events_pb2.OccupancySample(zone_id="hall", t=t, count=1)],
        "coverage": [events_pb2.CoverageSpan(start=t, end=t)],
        "trajectories": [
            events_pb2.Trajectory(
                trajectory_id="0123456789abcdef0123456789abcdef",
                start=t,
                steps_ms=[0],
                x=[0],
                y=[0],
                box_width=[1],
                box_height=[1],
                picture_width=640,
                picture_height=480,
            )
        ],
    }
    message = record(**{field: rows[field]}, epoch=epoch, hand_over_at=to_timestamp(RECEIVED_US / 1e6))
    read = decode(message.SerializeToString(), SUBJECT, received_at_us=RECEIVED_US)
    assert len(getattr(read, field)) == kept
    assert [(each.field, "lies after the time" in each.reason) for each in read.refused] == [(field, True)] * (1 - kept)


def test_a_row_may_have_any_age() -> None:
    """A recording of 1970 is no fault; nor is what a worker spooled for long."""
    message = record(crossings=[crossing()], epoch=1)
    assert len(decode(message.SerializeToString(), SUBJECT, received_at_us=RECEIVED_US).crossings) == 1
