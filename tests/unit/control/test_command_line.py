"""The texts of a command line, and the changes that they ask for."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera, CameraError, CameraObservation, CameraSpec, Line, Point
from countline_common.cli.app import app
from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.grpc.paging import next_token, page
from countline_common.grpc.texts import text_problem
from countline_common.http.rest_json import enum_word, enum_words
from countline_control.cli.camera_view import row
from countline_control.cli.changes import Changes, changed_spec
from countline_control.cli.geometry import parse_anchor, parse_line, parse_zone, write_ground, write_points


def test_a_line_has_a_name_points_and_perhaps_classes() -> None:
    line = parse_line("gate:0.1,0.5,0.9,0.5")
    assert (line.line_id, [(p.x, p.y) for p in line.points], list(line.classes)) == (
        "gate",
        [(0.1, 0.5), (0.9, 0.5)],
        [],
    )
    assert list(parse_line("gate:0,0,1,1:person, vehicle").classes) == ["person", "vehicle"]
    assert len(parse_line("gate:0,0,0.5,0.5,1,0").points) == 3
    assert len(parse_zone("hall:0,0,1,0,1,1").polygon) == 3


@pytest.mark.parametrize("text", ["", "gate", ":0,0,1,1", "gate:", "gate:0,0,1", "gate:0,0", "gate:a,b,c,d", "0,0,1,1"])
def test_what_is_no_line_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_line(text)
    assert "NAME:x1,y1,x2,y2" in caught.value.hint


def test_a_zone_needs_three_points_and_an_anchor_two_numbers() -> None:
    with pytest.raises(InvalidInputError, match="--zone hall: 4 numbers"):
        parse_zone("hall:0,0,1,1")
    assert parse_anchor("0.5,1") == parse_anchor("bottom") == Point(x=0.5, y=1)
    for text in ("0.5", "a,b", "1,2,3"):
        with pytest.raises(InvalidInputError, match="not a point of the box"):
            parse_anchor(text)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=6))
def test_points_that_are_shown_can_be_given_again(pairs: list) -> None:
    points = [Point(x=x / 1000, y=y / 1000) for x, y in pairs]
    assert list(parse_line(f"gate:{write_points(points)}").points) == points


STORED = CameraSpec(
    processing_rate=5,
    lines=[parse_line("a:0,0,1,1"), parse_line("b:0,1,1,0")],
)


def test_only_what_is_given_is_in_the_mask() -> None:
    spec, paths = changed_spec(STORED, Changes(processing_rate=9.0, min_score=0.0))
    assert paths == ["spec.processing_rate", "spec.min_score"]
    assert (spec.processing_rate, len(spec.lines)) == (9.0, 2)
    assert changed_spec(STORED, Changes())[1] == []


def test_lines_are_replaced_by_name_added_and_removed_in_one_go() -> None:
    changes = Changes(lines=("b:0,0,0,1", "c:0,0,1,0"), removed_lines=frozenset({"a"}))
    spec, paths = changed_spec(STORED, changes)
    assert paths == ["spec.lines"]
    assert [line.line_id for line in spec.lines] == ["b", "c"]
    assert spec.lines[0] == Line(line_id="b", points=[Point(x=0, y=0), Point(x=0, y=1)])


def test_a_line_that_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(NotFoundError) as caught:
        changed_spec(STORED, Changes(removed_lines=frozenset({"z"})))
    assert caught.value.hint == "it has: a, b"


def test_a_time_needs_a_zone() -> None:
    spec, paths = changed_spec(CameraSpec(), Changes(recorded_at="2026-03-01T13:00:00+01:00"))
    assert (spec.recorded_at.ToJsonString(), paths) == ("2026-03-01T12:00:00Z", ["spec.recorded_at"])
    with pytest.raises(InvalidInputError, match="is not a time"):
        changed_spec(CameraSpec(), Changes(recorded_at="yesterday"))


@given(st.text(max_size=40).filter(lambda text: not text_problem(text)), st.text(max_size=40))
def test_a_page_goes_on_where_the_last_one_ended_and_only_for_its_filters(key: str, filters: str) -> None:
    assert page(5, next_token(key, filters), filters).after == key
    with pytest.raises(InvalidInputError):
        page(5, next_token(key, filters), filters + "x")


@given(st.text(min_size=1, max_size=60))
def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        page(5, token)
    assert caught.value.fields[0].field == "page_token"


def test_pages_have_a_bound() -> None:
    assert (page(0, "").size, page(7, "").size, page(10**9, "").size) == (100, 7, 1000)
    with pytest.raises(InvalidInputError):
        page(-1, "")


def test_a_queue_is_a_zone_in_which_objects_wait_and_a_zone_of_its_name_takes_its_place() -> None:
    spec, paths = changed_spec(STORED, Changes(zones=("hall:0,0,1,0,1,1",), queues=("till:0,0,1,0,1,1:person",)))
    assert paths == ["spec.zones"]
    assert [(zone.zone_id, zone.queue, list(zone.classes)) for zone in spec.zones] == [
        ("hall", False, []),
        ("till", True, ["person"]),
    ]
    plain, _ = changed_spec(spec, Changes(zones=("till:0,0,1,0,1,1",)))
    assert [(zone.zone_id, zone.queue) for zone in plain.zones] == [("hall", False), ("till", False)]


def test_masks_are_added_replaced_and_removed_by_name() -> None:
    corners = "0,0,1,0,1,1"
    spec, paths = changed_spec(STORED, Changes(include_masks=(f"hall:{corners}",), ignore_masks=(f"tree:{corners}",)))
    assert paths == ["spec.masks"]
    kinds = {mask.mask_id: mask.kind for mask in spec.masks}
    assert kinds == {"hall": cameras_pb2.MASK_KIND_INCLUDE, "tree": cameras_pb2.MASK_KIND_IGNORE}
    spec, _ = changed_spec(spec, Changes(include_masks=(f"tree:{corners}",), removed_masks=frozenset({"hall"})))
    assert [(mask.mask_id, mask.kind) for mask in spec.masks] == [("tree", cameras_pb2.MASK_KIND_INCLUDE)]
    with pytest.raises(NotFoundError, match="no mask"):
        changed_spec(STORED, Changes(removed_masks=frozenset({"tree"})))
    with pytest.raises(InvalidInputError, match="a mask cannot have classes") as refused:
        changed_spec(STORED, Changes(ignore_masks=(f"tree:{corners}:person",)))
    assert "every class" in refused.value.hint


def test_the_least_age_and_score_of_a_track_are_numbers() -> None:
    spec, paths = changed_spec(STORED, Changes(min_track_age_s=1.5, min_track_score=0.0))
    assert paths == ["spec.min_track_age_s", "spec.min_track_score"]
    assert spec.min_track_age_s == 1.5


GROUND = ("0.3,0.3=0,30", "0.7,0.3=8,30", "0.95,0.95=8,0", "0.05,0.95=0,-1.5")


def test_the_ground_is_given_whole_and_taken_away() -> None:
    spec, paths = changed_spec(STORED, Changes(ground=GROUND))
    assert paths == ["spec.ground_plane"]
    last = spec.ground_plane.points[3]
    assert (last.image.x, last.image.y, last.x_m, last.y_m) == (0.05, 0.95, 0, -1.5)
    assert write_ground(spec.ground_plane) == " ".join(GROUND)
    without, paths = changed_spec(spec, Changes(ground=()))
    assert paths == ["spec.ground_plane"]
    assert not without.HasField("ground_plane")
    for text in ("0.3,0.3", "0.3=1,2", "0.1,0.2=3", "a,b=c,d"):
        with pytest.raises(InvalidInputError, match="not a point of the picture and its place"):
            changed_spec(STORED, Changes(ground=(text,)))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("login", "--server", "counts.invalid"), "give --username and --password-stdin"),
        (
            ("login", "--server", "counts.invalid", "--username", "vera"),
            "pass the password on standard input: --password-stdin",
        ),
        (("users", "add", "vera"), "pass the password on standard input: --password-stdin"),
    ],
)
def test_what_cannot_be_asked_for_is_an_error_that_says_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], hint: str
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "COUNTLINE_DATA"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("COUNTLINE_TOKEN_PRIVATE_KEY_FILE", raising=False)
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, InvalidInputError)
    assert error.hint == hint


def test_the_list_of_cameras_shows_faults_and_warnings() -> None:
    """A camera whose picture turned was plainly `running` in the list; the warning was in `cameras show` alone."""
    warning = CameraError(code="picture_changed", message="lines were drawn on 640x360", hint="draw them again")
    running = cameras_pb2.OBSERVED_STATE_RUNNING
    state = row(Camera(camera_id="door", observed=CameraObservation(state=running, warnings=[warning])))[4]
    assert str(state) == "running; warning: lines were drawn on 640x360"
    assert str(row(Camera(camera_id="door", observed=CameraObservation(state=running)))[4]) == "running"


@pytest.mark.parametrize(
    ("source_fps", "rate", "counted_fps", "shown"),
    [(10, 0, 10, "10.0"), (10, 0, 8.5, "8.5"), (10, 0, 4, "4.0 of 10.0"), (25, 5, 5, "5.0"), (25, 5, 2, "2.0 of 5.0")],
)
def test_the_list_of_cameras_shows_that_a_worker_does_not_keep_up(
    source_fps: float, rate: float, counted_fps: float, shown: str
) -> None:
    """A worker that dropped most frames of its cameras looked like one that had all of them."""
    observed = CameraObservation(
        state=cameras_pb2.OBSERVED_STATE_RUNNING, source_fps=source_fps, processed_fps=counted_fps
    )
    camera = Camera(camera_id="door", spec=cameras_pb2.CameraSpec(processing_rate=rate), observed=observed)
    assert str(row(camera)[5]) == shown


@pytest.mark.parametrize(
    ("command", "option", "enum"),
    [
        ("list", "--status", cameras_pb2.CameraStatus),
        ("list", "--observed", cameras_pb2.ObservedState),
        ("add", "--playback", cameras_pb2.Playback),
        ("add", "--transport", cameras_pb2.RtspTransport),
    ],
)
def test_an_option_takes_the_words_of_the_contract_and_no_other(command: str, option: str, enum) -> None:
    words = enum_words(enum.DESCRIPTOR)
    assert "unspecified" not in words
    assert {enum_word(enum.DESCRIPTOR, number) for number in words.values()} == set(words)
    wrong = CliRunner().invoke(app, ["cameras", command, *(["door", "rtsp://h"] * (command == "add")), option, "no"])
    assert ", ".join(map(repr, words)) in str(wrong.exception)
