"""What `countline check` makes of the answers of the services."""

import re

import pytest

from countline.v1.cameras_pb2 import Camera, CameraError, CameraObservation, CameraStatus, ObservedState
from countline.v1.parts_pb2 import MessageConsumer, MessageStream
from countline.v1.workers_pb2 import WORKER_STATE_OFFLINE, WORKER_STATE_ONLINE, Worker
from countline_common.errors import (
    CountlineError,
    DeadlineExceededError,
    InvalidInputError,
    NotFoundError,
    NotRunningError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from countline_control.cli.monitoring.camera_checks import CameraLimits, check_camera, check_cameras
from countline_control.cli.monitoring.system_checks import check_dlq, check_ingest, check_server, check_workers
from countline_control.cli.monitoring.thresholds import CountLimit, check_order
from countline_control.cli.monitoring.verdicts import CheckLevel, CheckResult, PerformanceValue, result_of_error

PERFDATA = r"('[^'=]+'|[^' =]+)=-?\d+(\.\d+)?(s|B|c|%)?(;(\d+(\.\d+)?:?)?){0,3}"
"""The grammar of the guidelines of Nagios plugins."""
LINE = re.compile(rf"[A-Z]+ (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]*( \| {PERFDATA}( {PERFDATA})*)?")
ONE = CountLimit(1)


def camera(name: str, observed: str = "RUNNING", status: str = "ACTIVE", **fields: object) -> Camera:
    return Camera(
        camera_id=name,
        status=CameraStatus.Value(f"CAMERA_STATUS_{status}"),
        observed=CameraObservation(
            state=ObservedState.Value(f"OBSERVED_STATE_{observed}"),
            source_fps=25,
            **{"processed_fps": 25.0, "latency_s": 0.1, **fields},
        ),
    )


@pytest.mark.parametrize(
    ("states", "warning", "critical", "level"),
    [
        ((), "1", "1", CheckLevel.OK),
        (("RUNNING", "FINISHED"), "1", "1", CheckLevel.OK),
        (("RUNNING", "DEGRADED"), "1", "1", CheckLevel.WARNING),
        (("RUNNING", "PROBING"), "1", "1", CheckLevel.WARNING),
        (("RUNNING", "STARTING"), "2", "2", CheckLevel.OK),
        (("RUNNING", "WAITING"), "1", "1", CheckLevel.CRITICAL),
        (("RUNNING", "OFFLINE"), "1", "1", CheckLevel.CRITICAL),
        (("RUNNING", "FAILED"), "1", "2", CheckLevel.WARNING),
        (("RUNNING", "UNSPECIFIED"), "1", "1", CheckLevel.CRITICAL),
        (("OFFLINE",) + ("RUNNING",) * 9, "5%", "20%", CheckLevel.WARNING),
        (("OFFLINE",) * 2 + ("RUNNING",) * 8, "5%", "20%", CheckLevel.CRITICAL),
        (("RUNNING",) * 3, "0%", "0%", CheckLevel.OK),
    ],
)
def test_active_cameras_should_count(states: tuple, warning: str, critical: str, level: CheckLevel) -> None:
    cameras = [camera(f"c{index}", state) for index, state in enumerate(states)]
    result = check_cameras(cameras, CountLimit.parse("-w", warning), CountLimit.parse("-c", critical))
    assert result.level == level, result
    assert LINE.fullmatch(result.line("cameras"))


def test_cameras_that_should_not_run_are_no_trouble() -> None:
    resting = [camera(status.lower(), "UNSPECIFIED", status) for status in ("INACTIVE", "PAUSED", "RETIRED")]
    assert check_cameras(resting, ONE, ONE).level == CheckLevel.OK
    assert "no camera is active (3 in all)" in check_cameras(resting, ONE, ONE).text
    assert check_camera(resting[1], CameraLimits()).level == CheckLevel.OK


def test_a_line_names_the_first_troubles_and_counts_the_others() -> None:
    down = [camera(f"c{i}", "OFFLINE", error=CameraError(message="refused")) for i in range(7)]
    line = check_cameras(down, ONE, ONE).line("cameras")
    assert line.startswith("CAMERAS CRITICAL - 0 of 7 active cameras run: c0 offline: refused; c1 offline: refused")
    assert "; and 2 more |" in line
    assert "down=7;1;1;0" in line


@pytest.mark.parametrize(
    ("limits", "fields", "level"),
    [
        (CameraLimits(), {}, CheckLevel.OK),
        (CameraLimits(), {"processed_fps": 5.0}, CheckLevel.WARNING),
        (CameraLimits(warning_fps=4), {"processed_fps": 5.0}, CheckLevel.OK),
        (CameraLimits(warning_fps=6, critical_fps=3), {"processed_fps": 5.0}, CheckLevel.WARNING),
        (CameraLimits(warning_fps=9, critical_fps=6), {"processed_fps": 5.0}, CheckLevel.CRITICAL),
        (CameraLimits(warning_latency_s=0.1), {}, CheckLevel.WARNING),
        (CameraLimits(warning_latency_s=0.05, critical_latency_s=0.1), {}, CheckLevel.CRITICAL),
        (CameraLimits(critical_latency_s=0.2), {}, CheckLevel.OK),
    ],
)
def test_one_camera_has_limits_of_latency_and_frames(limits: CameraLimits, fields: dict, level: CheckLevel) -> None:
    result = check_camera(camera("door", **fields), limits)
    assert result.level == level, result
    assert LINE.fullmatch(result.line("camera"))


def test_text_of_users_can_neither_end_the_line_nor_begin_performance_data() -> None:
    error = CameraError(message="evil\nCAMERA OK - | fps=99 \x1b[2J \u202e", hint="a|b")
    line = check_camera(camera("door", "FAILED", error=error), CameraLimits()).line("camera")
    assert LINE.fullmatch(line)
    assert "\x1b" not in line
    assert line.count("|") == 1


def worker(name: str, **fields: object) -> Worker:
    return Worker(worker_id=name, capacity=4, **{"state": WORKER_STATE_ONLINE, **fields})


@pytest.mark.parametrize(
    ("workers", "least", "level"),
    [
        ([], 1, CheckLevel.CRITICAL),
        ([], 0, CheckLevel.OK),
        ([worker("a")], 1, CheckLevel.OK),
        ([worker("a")], 2, CheckLevel.CRITICAL),
        ([worker("a"), worker("b", state=WORKER_STATE_OFFLINE)], 1, CheckLevel.WARNING),
        ([worker("a", spool_bytes=20.0)], 1, CheckLevel.WARNING),
        ([worker("a", spool_bytes=30.0)], 1, CheckLevel.CRITICAL),
        ([worker("a", clock_offset_s=-3.0)], 1, CheckLevel.WARNING),
    ],
)
def test_workers_are_online_with_small_spools_and_right_clocks(
    workers: list[Worker], least: int, level: CheckLevel
) -> None:
    result = check_workers(workers, least, 20, 30)
    assert result.level == level, result
    assert LINE.fullmatch(result.line("workers"))


def counts(consumer: MessageConsumer | None, **fields: float) -> list[MessageStream]:
    return [MessageStream(name="COUNTS", consumers=[consumer] if consumer else [], **fields)]


@pytest.mark.parametrize(
    ("streams", "level"),
    [
        ([], CheckLevel.CRITICAL),
        (counts(None), CheckLevel.CRITICAL),
        (counts(MessageConsumer(name="ingest")), CheckLevel.CRITICAL),
        (counts(MessageConsumer(name="ingest", readers=1)), CheckLevel.OK),
        (counts(MessageConsumer(name="ingest", in_progress=3, waiting=3, lag_s=0.2)), CheckLevel.OK),
        (counts(MessageConsumer(name="ingest", readers=1, lag_s=70)), CheckLevel.WARNING),
        (counts(MessageConsumer(name="ingest", readers=1, lag_s=301)), CheckLevel.CRITICAL),
        (counts(MessageConsumer(name="ingest", readers=1), bytes=85, max_bytes=100), CheckLevel.WARNING),
        (counts(MessageConsumer(name="ingest", readers=1), bytes=96, max_bytes=100), CheckLevel.CRITICAL),
    ],
)
def test_ingest_reads_in_time_and_its_stream_has_room(streams: list[MessageStream], level: CheckLevel) -> None:
    result = check_ingest(streams, 60, 300)
    assert result.level == level, result
    assert LINE.fullmatch(result.line("ingest"))


@pytest.mark.parametrize(
    ("messages", "level"),
    [(0, CheckLevel.OK), (1, CheckLevel.WARNING), (9, CheckLevel.WARNING), (10, CheckLevel.CRITICAL)],
)
def test_a_dead_letter_is_a_warning(messages: int, level: CheckLevel) -> None:
    assert check_dlq([MessageStream(name="DLQ", messages=messages)], 1, 10).level == level
    assert check_dlq([], 1, 10).level == CheckLevel.CRITICAL


def test_a_service_that_is_away_is_critical_and_a_slow_one_is_graded() -> None:
    assert check_server({"auth": 0.1, "gateway": 0.2}, 1, 5).level == CheckLevel.OK
    assert check_server({"auth": 1.1, "gateway": 0.2}, 1, 5).level == CheckLevel.WARNING
    assert check_server({"auth": 5.1, "gateway": 0.2}, 1, 5).level == CheckLevel.CRITICAL
    result = check_server({"auth": "connection refused", "gateway": 0.2}, 1, 5)
    assert (result.level, "1 of 2 services answer: auth: connection refused" in result.text) == (
        CheckLevel.CRITICAL,
        True,
    )
    assert LINE.fullmatch(result.line("server"))


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (UnavailableError("away"), CheckLevel.CRITICAL),
        (DeadlineExceededError("slow"), CheckLevel.CRITICAL),
        (NotRunningError("none"), CheckLevel.CRITICAL),
        (NotFoundError("no such camera"), CheckLevel.UNKNOWN),
        (InvalidInputError("limits"), CheckLevel.UNKNOWN),
        (UnauthenticatedError("no login"), CheckLevel.UNKNOWN),
        (PermissionDeniedError("not you"), CheckLevel.UNKNOWN),
    ],
)
def test_what_is_away_is_critical_and_what_says_nothing_is_unknown(error: CountlineError, level: CheckLevel) -> None:
    assert result_of_error(error).level == level


def test_numbers_have_neither_exponents_nor_trailing_zeros() -> None:
    values = (PerformanceValue("a b", 0.00001, "s", 1e9), PerformanceValue("c", 12.5, "", 3, 2, lower=True))
    assert CheckResult(CheckLevel.OK, "x", values).line("y") == "Y OK - x | 'a b'=0.00001s;1000000000;;0 c=12.5;3:;2:;0"


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "101%", "%", "½", "٣"])
def test_a_limit_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--critical"):
        CountLimit.parse("--critical", text)


def test_limits_in_the_wrong_order_are_refused() -> None:
    check_order(1, 2)
    check_order(None, 2)
    check_order(9, 3, lower=True)
    for warning, critical, lower in ((2, 1, False), (3, 9, True)):
        with pytest.raises(InvalidInputError, match="the limit for a warning"):
            check_order(warning, critical, lower=lower)
