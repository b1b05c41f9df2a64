"""Lines are read from whatever a process logs, without secrets, and kept within bounds."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline.v1.logs_pb2 import LogBatch, LogLine
from countline_common.errors import InvalidInputError
from countline_common.logbook import tap
from countline_common.logbook.files import read_files
from countline_common.logbook.lines import LONGEST_VALUE, LineFilter, line_of, masked
from countline_common.times import to_timestamp

SECRET = "s3cret-marker-of-tests"
ADDRESS = f"rtsp://joe:{SECRET}@camera.invalid/live"
AT = "2026-03-01T12:00:00Z"
EVENTS = st.dictionaries(
    st.text(max_size=8) | st.sampled_from(["event", "level", "camera", "request_id", "exception"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=4), each, max_size=3),
        max_leaves=5,
    ),
    max_size=6,
)


@given(EVENTS)
def test_every_event_becomes_a_line_that_can_be_sent(event: dict[str, object]) -> None:
    line = line_of(json.dumps({**event, "timestamp": AT}), "api", "host")
    assert line is not None
    assert LogBatch.FromString(LogBatch(lines=[line]).SerializeToString()).lines[0] == line
    assert masked(line).at == line.at


@given(st.text() | EVENTS.map(json.dumps))
def test_other_text_is_no_line(text: str) -> None:
    assert line_of(text, "api", "host") is None


def test_a_line_is_bounded_and_masked_at_each_place() -> None:
    event = {"timestamp": AT, "event": ADDRESS, "exception": ADDRESS, "long": "x" * 10_000, ADDRESS: 1, "l": [ADDRESS]}
    line = line_of(json.dumps(event), "api", "host")
    assert line is not None
    assert SECRET not in str(line)
    assert len(line.fields["long"]) < LONGEST_VALUE + 50
    foreign = LogLine(event=ADDRESS, exception=ADDRESS, fields={"source": ADDRESS})
    assert SECRET not in str(masked(foreign))


def test_filters() -> None:
    line = LogLine(at=to_timestamp(10.0), part="api", level="warning", event="Door.Lost", fields={"why": "no answer"})
    for accepted in (
        LineFilter(),
        LineFilter(level="info"),
        LineFilter(text="WHY=no"),
        LineFilter(text="door.l"),
        LineFilter(start_s=10.0, end_s=10.5),
    ):
        assert accepted.accepts(line), accepted
    for refused in (
        LineFilter(part="worker"),
        LineFilter(level="error"),
        LineFilter(text="window"),
        LineFilter(request_id="r"),
        LineFilter(camera_id="door"),
        LineFilter(end_s=10.0),
        LineFilter(start_s=10.1),
    ):
        assert not refused.accepts(line), refused
    with pytest.raises(InvalidInputError):
        LineFilter(level="loud")


def test_the_tap_drops_the_oldest_lines_and_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "MOST_CHARACTERS", 2_000)
    kept = tap.LogTap()
    for number in range(100):
        kept.handle(logging.LogRecord("x", logging.INFO, "", 0, f"line {number}", None, None))
    first, dropped = kept.take(1)
    rest, none = kept.take(10_000)
    assert (len(first), none) == (1, 0)
    assert dropped + len(first) + len(rest) == 100
    assert dropped > 0
    assert [json.loads(text)["event"] for text in [*first, *rest]] == [f"line {n}" for n in range(dropped, 100)]
    assert kept.take(1) == ([], 0)


def test_lines_of_other_servers_have_time_and_level(tmp_path) -> None:
    (tmp_path / "postgres.log").write_text(
        f"2026-03-01 12:00:00.500 UTC [7] FATAL:  cannot reach {ADDRESS}\n  detail\n"
    )
    (tmp_path / "triton.log").write_text("W0301 12:00:00.1 1 server.cc:1] slow\n\n")
    lines = {line.part: line for line in read_files(tmp_path, LineFilter(end_s=1.8e9), 100)}
    assert (lines["postgres"].at.seconds, lines["postgres"].event) == (1_772_366_400, "  detail")
    (line,) = read_files(tmp_path, LineFilter(level="error"), 100)
    assert (line.at.nanos, SECRET in line.event) == (500_000_000, False)
    assert [line.event[:5] for line in read_files(tmp_path, LineFilter(part="triton", level="warning"), 9)] == ["W0301"]
