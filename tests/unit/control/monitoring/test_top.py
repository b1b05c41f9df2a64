"""The screen of `countline top`: what it shows, and that it fits on every terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from countline.v1.cameras_pb2 import Camera, CameraError, CameraObservation, CameraStatus, ObservedState
from countline.v1.workers_pb2 import WORKER_STATE_OFFLINE, WORKER_STATE_ONLINE, Worker
from countline_control.cli.monitoring.top.keys import names_of
from countline_control.cli.monitoring.top.screen import TopView, screen
from countline_control.cli.monitoring.top.snapshot import TopSnapshot, TopSort, in_order, snapshot_of
from countline_control.cli.monitoring.top.watch import sums

EVIL = "[b]evil[/b] :zebra: \x1b[2J\x07\u202e\nline"


def camera(name: str, observed: str = "RUNNING", status: str = "ACTIVE", **fields: Any) -> Camera:
    return Camera(
        camera_id=name,
        site_id="lab",
        status=CameraStatus.Value(f"CAMERA_STATUS_{status}"),
        observed=CameraObservation(
            state=ObservedState.Value(f"OBSERVED_STATE_{observed}"),
            **{"worker_id": "worker-1", "source_fps": 25, "processed_fps": 25.0, "latency_s": 0.123, **fields},
        ),
    )


def many(number: int) -> TopSnapshot:
    error = CameraError(message=EVIL)
    cameras = [camera(f"camera-{i:03}", "OFFLINE" if i % 7 == 3 else "RUNNING", error=error) for i in range(number)]
    workers = [
        Worker(worker_id=f"worker-{i}", state=WORKER_STATE_ONLINE, capacity=8, camera_ids=["a"] * i, backend="software")
        for i in range(number // 4)
    ]
    return snapshot_of(1e9, cameras, workers, {f"camera-{i:03}": i for i in range(number)})


def drawn(snapshot: TopSnapshot | None, width: int, height: int, view: TopView | None = None, problem: str = "") -> str:
    """The screen as text, without the colours. The console is rich's own, so that nothing else escapes the text."""
    console = Console(file=io.StringIO(), width=width, height=height or 25, force_terminal=False)
    view = view or TopView(server="127.0.0.1:3001")
    with console.capture() as captured:
        console.print(screen(snapshot, view, width, height, problem))
    return captured.get()


@pytest.mark.parametrize("width", [20, 44, 56, 80, 200])
@pytest.mark.parametrize("height", [12, 24, 60])
@pytest.mark.parametrize("number", [0, 1, 200])
@pytest.mark.parametrize("problem", ["", f"the server does not answer: {EVIL}"])
def test_the_screen_fits_on_every_terminal(width: int, height: int, number: int, problem: str) -> None:
    lines = drawn(many(number), width, height, problem=problem).splitlines()
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width


def test_eighty_columns_show_the_numbers_of_a_camera_and_of_its_worker() -> None:
    text = drawn(many(5), 80, 24)
    assert "5 cameras: 4 running, 1 offline" in text
    assert "100 frames/s  10 counts/min  1 of 1 workers online" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["CAMERA", "FPS", "LATENCY", "COUNTS/MIN", "WORKER", "STATE"] in rows
    assert rows[4][:6] == ["camera-003", "-", "-", "3", "worker-1", "offline:"]  # trouble comes first
    assert rows[5][:6] == ["camera-000", "25.0", "123", "ms", "0", "worker-1"]
    assert ["worker-0", "online", "0/8", "0%", "0", "0", "KiB"] in rows
    assert "q quit  s sort  r reverse  ↑↓ scroll  (sorted by state)" in text


@pytest.mark.parametrize("width", range(20, 130))
def test_no_width_shortens_a_number(width: int) -> None:
    """A part of a number is another number."""
    cells = [cell for line in drawn(many(5), width, 24).splitlines()[3:] for cell in line.split()]
    assert not [cell for cell in cells if cell[:1].isdigit() and "…" in cell]
    assert cells.count("25.0") == 4


def test_text_of_users_stays_text() -> None:
    text = drawn(many(5), 200, 40)
    assert "[b]evil[/b] :zebra:" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_a_low_terminal_says_how_many_cameras_it_leaves_out_and_scrolls() -> None:
    snapshot, view = many(50), TopView(TopSort.CAMERA)
    text = drawn(snapshot, 80, 24, view)
    assert "camera-000" in text
    assert "0 above" in text
    for _ in range(200):
        view = view.moved(1, 50)
    text = drawn(snapshot, 80, 24, view)
    assert "camera-049" in text
    assert "0 below" in text
    assert "camera-000" in drawn(snapshot, 80, 24, view.moved(-1000, 50))


def test_everything_is_printed_where_there_is_no_height() -> None:
    text = drawn(many(200), 400, 0)
    assert all(f"camera-{i:03}" in text for i in range(200))
    assert all(f"worker-{i} " in text for i in range(50))
    assert "q quit" not in text


def test_while_the_server_is_away_the_last_numbers_stay_under_a_banner() -> None:
    text = drawn(many(5), 80, 24, problem="No answer for 3 s, trying again: connection refused")
    assert "No answer for 3 s" in text
    assert "camera-003" in text
    assert "Waiting for the first answer" in drawn(None, 80, 24)
    assert "connection refused" in drawn(None, 80, 24, problem="connection refused")


def test_unknown_counts_are_a_dash_and_a_remark_and_never_zero() -> None:
    snapshot = snapshot_of(1e9, [camera("door")], [], None, "http://h does not answer")
    text = drawn(snapshot, 80, 24)
    assert "Counts are unknown: http://h does not answer" in text
    assert "counts/min" not in text
    assert snapshot.as_dict()["cameras"][0]["counts_per_minute"] is None


def test_cameras_are_sorted_by_every_column_in_turn() -> None:
    cameras = [
        camera("a", latency_s=0.1, processed_fps=5.0, worker_id="w2"),
        camera("b", "FAILED", latency_s=0.3, processed_fps=0.0, worker_id="w3"),
        camera("c", "UNSPECIFIED", "PAUSED", latency_s=0.0, processed_fps=0.0, worker_id=""),
        camera("d", latency_s=0.2, processed_fps=9.0, worker_id="w1"),
    ]
    snapshot = snapshot_of(1e9, cameras, [], {"a": 7, "d": 3})
    view, seen = TopView(), {}
    for _ in TopSort:
        seen[view.sort.value] = "".join(each.camera_id for each in in_order(snapshot.cameras, view.sort))
        view = view.sorted_further()
    assert seen == {
        "state": "badc", "camera": "abcd", "counts": "adbc", "fps": "dabc", "latency": "bdac", "worker": "cdab",
    }  # fmt: skip
    assert view.sort is TopSort.STATE
    assert [each.camera_id for each in in_order(snapshot.cameras, TopSort.CAMERA, backwards=True)] == [*"dcba"]


def test_a_camera_that_does_not_keep_up_shows_what_its_source_sends() -> None:
    text = drawn(snapshot_of(1e9, [camera("door", "DEGRADED", processed_fps=4.0)], [], {}), 80, 24)
    assert "4.0/25" in text


def test_a_state_says_what_is_wrong_without_the_name_of_the_source() -> None:
    error = CameraError(message="/clips/door.mp4: 2 of 10 frames are counted")
    door = camera("door", "DEGRADED", error=error)
    door.stream_url = "file:///clips/door.mp4"
    assert "degraded: 2 of 10" in drawn(snapshot_of(1e9, [door], [], {}), 100, 24)


def test_retired_cameras_are_left_out_and_offline_workers_come_first() -> None:
    workers = [
        Worker(worker_id="b", state=WORKER_STATE_ONLINE, capacity=2, camera_ids=["x", "y"]),
        Worker(worker_id="a", state=WORKER_STATE_ONLINE, capacity=2),
        Worker(worker_id="z", state=WORKER_STATE_OFFLINE, capacity=0),
    ]
    snapshot = snapshot_of(1e9, [camera("old", "UNSPECIFIED", "RETIRED")], workers, {})
    assert snapshot.cameras == ()
    rows = [line.split() for line in drawn(snapshot, 100, 24).splitlines()]
    shown = [row[:4] for row in rows if row and row[0] in {"a", "b", "z"}]
    assert shown == [["z", "offline", "0/0", "0%"], ["b", "online", "2/2", "100%"], ["a", "online", "0/2", "0%"]]


def test_counts_are_summed_over_lines_and_directions() -> None:
    buckets = [
        {"camera_id": "a", "in": 1, "out": 2},
        {"camera_id": "a", "in": 3, "out": 0},
        {"camera_id": "b", "in": 0, "out": 0},
    ]
    assert sums(buckets) == {"a": 6, "b": 0}


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[Bs", ["up", "down", "s"]),
        (b"\x1b[6~", ["page down"]),
        (b"\x1b[99;99R", []),
        (b"\xc3\xa4r", ["r"]),
        (b"", []),
    ],
)
def test_keys_that_arrive_together_are_told_apart(data: bytes, names: list[str]) -> None:
    assert names_of(data) == names
