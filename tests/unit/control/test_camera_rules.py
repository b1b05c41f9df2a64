"""Which cameras can be stored, and which versions their lines get."""

import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline.v1 import cameras_pb2
from countline.v1.cameras_pb2 import Camera, CameraSpec, Line, Mask, MaskKind, Point, Zone
from countline_common.display import Orientation, PictureShape
from countline_common.errors import InvalidInputError
from countline_control.cameras import checks, domain, messages, sources
from countline_control.cameras.pictures import changed_pictures
from countline_counting.errors import GeometryError
from countline_counting.geometry.ground import GroundPlane

NOW = 1_800_000_000.0
fractions = st.floats(0.0, 1.0, allow_nan=False)
points = st.tuples(fractions, fractions)


def cam(stream_url: str = "rtsp://camera.invalid/live", **fields: object) -> Camera:
    """A camera that can be stored, with these fields of its spec."""
    return Camera(camera_id="door", site_id="lab", name="Door", stream_url=stream_url, spec=CameraSpec(**fields))


def line(*pairs: tuple[float, float], line_id: str = "gate", classes: tuple[str, ...] = ()) -> Line:
    return Line(line_id=line_id, points=[Point(x=x, y=y) for x, y in pairs], classes=classes)


def zone(*pairs: tuple[float, float], zone_id: str = "hall") -> Zone:
    return Zone(zone_id=zone_id, polygon=[Point(x=x, y=y) for x, y in pairs])


def mask(*pairs: tuple[float, float], mask_id: str = "tree", kind: MaskKind = cameras_pb2.MASK_KIND_IGNORE) -> Mask:
    return Mask(mask_id=mask_id, polygon=[Point(x=x, y=y) for x, y in pairs], kind=kind)


def fields_of(problems: checks.Problems) -> list[str]:
    return [problem.field for problem in problems]


UP = line((0.5, 0.1), (0.5, 0.9))
BAD_SPECS = [
    ("no source", cam(stream_url=""), "stream_url"),
    ("unknown scheme", cam(stream_url="ftp://x/y"), "stream_url"),
    ("a path without file://", cam(stream_url="/clips/a.mp4"), "stream_url"),
    ("no host", cam(stream_url="rtsp:///live"), "stream_url"),
    ("a port that is none", cam(stream_url="rtsp://h:99999/live"), "stream_url"),
    ("a blank in the address", cam(stream_url="rtsp://h/a b"), "stream_url"),
    ("a newline in the address", cam(stream_url="rtsp://h/a\nb"), "stream_url"),
    ("a relative file", cam(stream_url="file://clips/a.mp4"), "stream_url"),
    ("a folder", cam(stream_url="file:///clips/"), "stream_url"),
    ("a way up", cam(stream_url="file:///clips/%2e%2e/secret.mp4"), "stream_url"),
    ("too long", cam(stream_url="rtsp://h/" + "x" * 2048), "stream_url"),
    ("a model with a blank at its end", cam(model="demo "), "spec.model"),
    ("a model with a version that is no number", cam(model="demo@@"), "spec.model"),
    ("a model that is a path", cam(model="../demo"), "spec.model"),
    ("a line of one point", cam(lines=[line((0.5, 0.5))]), "spec.lines[0].points"),
    ("a line with equal ends", cam(lines=[UP, line((0.5, 0.5), (0.5, 0.5), line_id="b")]), "spec.lines[1].points"),
    ("a line outside", cam(lines=[line((0.5, 0.5), (1.01, 0.5))]), "spec.lines[0].points[1]"),
    ("a line at NaN", cam(lines=[line((math.nan, 0.5), (1, 0.5))]), "spec.lines[0].points[0]"),
    ("a line at infinity", cam(lines=[line((0.5, 0.5), (0.5, math.inf))]), "spec.lines[0].points[1]"),
    ("a line without a name", cam(lines=[line((0, 0), (1, 1), line_id="")]), "spec.lines[0].line_id"),
    ("a line named as a subject", cam(lines=[line((0, 0), (1, 1), line_id="a.b")]), "spec.lines[0].line_id"),
    ("a name given twice", cam(lines=[UP, UP]), "spec.lines[1].line_id"),
    ("a class without a name", cam(lines=[line((0, 0), (1, 1), classes=("",))]), "spec.lines[0].classes[0]"),
    ("too many lines", cam(lines=[line((0, 0), (1, 1), line_id=f"l{i}") for i in range(65)]), "spec.lines"),
    ("a zone of two points", cam(zones=[zone((0, 0), (1, 1))]), "spec.zones[0].polygon"),
    ("a bow tie", cam(zones=[zone((0, 0), (1, 1), (1, 0), (0, 1))]), "spec.zones[0].polygon"),
    ("a zone without area", cam(zones=[zone((0, 0), (0.5, 0.5), (1, 1))]), "spec.zones[0].polygon"),
    ("a corner given twice", cam(zones=[zone((0, 0), (0, 0), (1, 0), (1, 1))]), "spec.zones[0].polygon"),
    ("a rate below zero", cam(processing_rate=-0.1), "spec.processing_rate"),
    ("a rate of NaN", cam(processing_rate=math.nan), "spec.processing_rate"),
    ("a rate beyond reason", cam(processing_rate=1000), "spec.processing_rate"),
    ("a score above one", cam(min_score=1.5), "spec.min_score"),
    ("a mask of two points", cam(masks=[mask((0, 0), (1, 1))]), "spec.masks[0].polygon"),
    ("a mask that is a bow tie", cam(masks=[mask((0, 0), (1, 1), (1, 0), (0, 1))]), "spec.masks[0].polygon"),
    ("a mask of no kind", cam(masks=[mask((0, 0), (1, 0), (1, 1), kind=0)]), "spec.masks[0].kind"),
    ("a mask without a name", cam(masks=[mask((0, 0), (1, 0), (1, 1), mask_id="")]), "spec.masks[0].mask_id"),
    ("too many masks", cam(masks=[mask((0, 0), (1, 0), (1, 1), mask_id=f"m{i}") for i in range(65)]), "spec.masks"),
    ("an age below zero", cam(min_track_age_s=-1), "spec.min_track_age_s"),
    ("an age that a crossing cannot wait for", cam(min_track_age_s=3), "spec.min_track_age_s"),
    ("a track score above one", cam(min_track_score=1.1), "spec.min_track_score"),
    ("an anchor outside the box", cam(anchor=Point(x=0.5, y=1.5)), "spec.anchor"),
    ("a playback that is none", cam(playback=99), "spec.playback"),
    ("a looped stream", cam(playback=cameras_pb2.PLAYBACK_LOOP), "spec.playback"),
    ("a live file", cam(stream_url="file:///a.mp4", playback=cameras_pb2.PLAYBACK_LIVE), "spec.playback"),
    ("a transport that is none", cam(rtsp_transport=9), "spec.rtsp_transport"),
    ("a file over UDP", cam(stream_url="file:///a.mp4", rtsp_transport=2), "spec.rtsp_transport"),
]


@pytest.mark.parametrize(("bad", "field"), [case[1:] for case in BAD_SPECS], ids=[case[0] for case in BAD_SPECS])
def test_a_spec_that_cannot_be_used_names_the_field(bad: Camera, field: str) -> None:
    problems = checks.camera_problems(messages.camera_of(bad), NOW)
    assert fields_of(problems) == [field]
    assert problems[0].message


GOOD_SPECS = [
    ("the least", cam()),
    ("a poly-line", cam(lines=[line((0, 0), (0.5, 0.5), (1, 0))])),
    ("a closed line", cam(lines=[line((0, 0), (0.5, 0.5), (1, 0), (0, 0))])),
    ("a concave zone", cam(zones=[zone((0, 0), (1, 0), (1, 1), (0.5, 0.2), (0, 1))])),
    ("a line and a zone of one name", cam(lines=[UP], zones=[zone((0, 0), (1, 0), (1, 1), zone_id="gate")])),
    ("credentials", cam(stream_url="rtsps://joe:p%40ss@10.0.0.7:322/live?channel=1")),
    ("IPv6", cam(stream_url="http://[::1]:8080/live.m3u8")),
    ("a file with blanks, encoded", cam(stream_url="file:///clips/my%20clip.mp4")),
    ("a looped file", cam(stream_url="file:///a.mp4", playback=cameras_pb2.PLAYBACK_LOOP)),
    ("UDP", cam(rtsp_transport=cameras_pb2.RTSP_TRANSPORT_UDP)),
    ("masks, an age and a score", cam(masks=[mask((0, 0), (1, 0), (1, 1))], min_track_age_s=2.5, min_track_score=1)),
    ("the corner of the picture", cam(lines=[line((0, 0), (1, 1))], anchor=Point(x=0.5, y=1))),
]


@pytest.mark.parametrize("good", [case[1] for case in GOOD_SPECS], ids=[case[0] for case in GOOD_SPECS])
def test_a_spec_that_can_be_used_has_no_problem(good: Camera) -> None:
    assert checks.camera_problems(messages.camera_of(good), NOW) == []


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a.b", "a_b", "a b", "a*", ">", "ä", "x" * 64])
def test_ids_that_could_break_a_subject_or_an_url_are_refused(name: str) -> None:
    camera = Camera(camera_id=name, site_id=name, name="Door", stream_url="rtsp://h/live")
    assert fields_of(checks.camera_problems(messages.camera_of(camera), NOW)) == ["camera_id", "site_id"]
    assert "site_id" in fields_of(checks.site_problems(domain.Site(name, "", "UTC")))


@pytest.mark.parametrize("name", ["Factory", "localtime", "right/Europe/Berlin", "posix/UTC", "Europe", "", "a/../b"])
def test_what_is_no_time_zone_of_a_place_is_refused(name: str) -> None:
    assert fields_of(checks.site_problems(domain.Site("lab", "", name))) == ["time_zone"]


@pytest.mark.parametrize(
    "title",
    [
        "\u6771\u4eac\u3000\u5e97",  # Tokyo, an ideographic blank, shop
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a joiner inside the word
        "\U0001f469\u200d\U0001f4bb desk",
        "10\u00a0m",
        "Shop [/b] <img src=x onerror=alert(1)> %s {0} ${x}",
    ],
)
def test_a_title_in_any_script_is_stored(title: str) -> None:
    """Blanks of other scripts and joiners inside words were refused as control characters."""
    assert checks.site_problems(domain.Site("lab", title, "UTC")) == []


@pytest.mark.parametrize("hidden", ["\n", "\t", "\x1b[31m", "\u202e", "\u2066", "\u2028", "\u200b", "\ufeff", "\x85"])
def test_a_character_that_hides_or_reorders_text_is_named(hidden: str) -> None:
    (problem,) = checks.site_problems(domain.Site("lab", f"a{hidden}b", "UTC"))
    assert (problem.field, f"U+{ord(hidden[0]):04X}" in problem.message) == ("title", True)


DAY_1, DAY_2, DAY_3 = (date(2026, 3, day) for day in (1, 2, 3))


@pytest.mark.parametrize(
    ("changes", "time_zone", "earlier"),
    [
        ([("Asia/Tokyo", None)], "Asia/Tokyo", []),
        ([("Asia/Tokyo", DAY_2)], "Asia/Tokyo", [("UTC", DAY_2)]),
        ([("Asia/Tokyo", DAY_1), ("Asia/Seoul", DAY_3)], "Asia/Seoul", [("UTC", DAY_1), ("Asia/Tokyo", DAY_3)]),
        ([("Asia/Tokyo", DAY_3), ("Asia/Seoul", DAY_2)], "Asia/Seoul", [("UTC", DAY_2)]),
        ([("Asia/Tokyo", DAY_2), ("Asia/Seoul", DAY_2)], "Asia/Seoul", [("UTC", DAY_2)]),
        ([("Asia/Tokyo", DAY_2), ("UTC", DAY_2)], "UTC", []),
        ([("Asia/Tokyo", DAY_2), ("Asia/Seoul", None)], "Asia/Seoul", []),
    ],
)
def test_a_zone_changes_from_a_day_on_or_for_the_whole_history(changes, time_zone, earlier) -> None:
    site = domain.Site("lab", "", "UTC")
    for name, first_day in changes:
        site = domain.with_time_zone(site, name, first_day)
    assert site.time_zone == time_zone
    assert [(each.time_zone, each.until) for each in site.earlier_time_zones] == earlier


@pytest.mark.parametrize(("seconds", "fine"), [(0, True), (NOW, True), (NOW + 90_000, False), (-5, False)])
def test_a_recording_began_after_1970_and_not_in_the_future(seconds: float, fine: bool) -> None:
    recorded = cam(stream_url="file:///a.mp4")
    recorded.spec.recorded_at.FromSeconds(int(seconds))
    assert fields_of(checks.camera_problems(messages.camera_of(recorded), NOW)) == (
        [] if fine else ["spec.recorded_at"]
    )


def test_only_files_that_are_played_once_were_recorded() -> None:
    live = cam()
    live.spec.recorded_at.FromSeconds(5)
    assert fields_of(checks.camera_problems(messages.camera_of(live), NOW)) == ["spec.recorded_at"]


def test_an_error_for_several_fields_says_the_first_and_how_many_more() -> None:
    with pytest.raises(InvalidInputError) as caught:
        checks.refuse("no", checks.camera_problems(messages.camera_of(cam(stream_url="", processing_rate=-1)), NOW))
    assert "stream_url" in caught.value.message
    assert "(and 1 more)" in caught.value.message
    assert len(caught.value.fields) == 2


lines = st.lists(
    st.builds(
        lambda name, pairs, classes: line(*pairs, line_id=name, classes=tuple(classes)),
        st.sampled_from("abcd"),
        st.lists(points, min_size=2, max_size=3),
        st.lists(st.sampled_from(["person", "vehicle"]), max_size=2),
    ),
    max_size=4,
    unique_by=lambda item: item.line_id,
)


@given(st.lists(lines, min_size=1, max_size=8))
def test_over_any_history_one_version_is_one_geometry_and_versions_only_grow(history: list) -> None:
    known: domain.Versions = {}
    seen: dict[tuple[str, int], tuple] = {}
    newest: dict[str, int] = {}
    for drawn in history:
        versioned, new = domain.versioned(messages.camera_of(cam(lines=drawn)).spec, known)
        known = {**known, **new}
        for item in versioned.lines:
            what = (item.points, frozenset(item.classes))
            assert seen.setdefault((item.line_id, item.version), what) == what
            assert item.version in (newest.get(item.line_id, 0), newest.get(item.line_id, 0) + 1)
            newest[item.line_id] = item.version


def test_a_zone_that_becomes_a_queue_begins_another_series() -> None:
    zone = Zone(zone_id="till", polygon=[Point(x=0, y=0), Point(x=1, y=0), Point(x=1, y=1)])
    first, known = domain.versioned(messages.camera_of(cam(zones=[zone])).spec, {})
    zone.queue = True
    second, new = domain.versioned(messages.camera_of(cam(zones=[zone])).spec, known)
    zone.queue = False
    third, _ = domain.versioned(messages.camera_of(cam(zones=[zone])).spec, {**known, **new})
    assert [each.zones[0].version for each in (first, second, third)] == [1, 2, 3]


WIDE, TALL = PictureShape((640, 360)), PictureShape((360, 640))
TURNED = PictureShape((640, 360), Orientation.HALF_TURN)


@pytest.mark.parametrize(
    ("pictures", "versions"),
    [
        ((None, WIDE), [1, 1]),  # the first picture is that of the lines
        ((WIDE, PictureShape((1280, 720))), [1, 1]),
        ((WIDE, PictureShape((640, 368))), [1, 2]),
        ((WIDE, TALL, WIDE), [1, 2, 3]),
        ((WIDE, TURNED), [1, 2]),
        ((WIDE, None, TALL), [1, 1, 2]),
    ],
)
def test_a_line_or_zone_whose_picture_turns_gets_the_next_version(pictures: tuple, versions: list[int]) -> None:
    known: domain.Versions = {}
    found = []
    area = zone((0, 0), (1, 0), (1, 1))
    for picture in pictures:
        versioned, new = domain.versioned(messages.camera_of(cam(lines=[UP], zones=[area])).spec, known, picture)
        known = {**known, **new}
        assert versioned.lines[0].version == versioned.zones[0].version
        found.append(versioned.lines[0].version)
    assert found == versions


def test_a_camera_warns_until_its_lines_are_drawn_again_or_the_picture_is_back() -> None:
    running = domain.CameraObservation(domain.ObservedState.RUNNING)
    camera = messages.camera_of(cam(lines=[UP]))
    for picture in (WIDE, TALL):
        assert not domain.with_picture_warning(camera, running).warnings
        camera = domain.with_picture(camera, picture)
    (warning,) = domain.with_picture_warning(camera, running).warnings
    assert "now 360x640" in warning.message
    assert "drawn on 640x360" in warning.message
    assert "countline cameras set door --line" in warning.hint
    back = domain.with_picture(camera, WIDE)
    assert not domain.with_picture_warning(back, running).warnings
    renamed = domain.changed(camera, domain.Camera("door", name="Gate"), ["name"])
    assert domain.with_picture_warning(renamed, running).warnings
    redrawn = domain.changed(camera, camera, ["spec.lines"])
    assert not domain.with_picture_warning(redrawn, running).warnings


def test_pictures_that_differ_from_the_stored_ones_are_found() -> None:
    def shows(width: int, height: int) -> domain.CameraObservation:
        return domain.CameraObservation(domain.ObservedState.RUNNING, width=width, height=height)

    stored = {"new": None, "same": WIDE, "larger": WIDE, "turned": WIDE, "closed": WIDE, "gone": WIDE}
    observations = {
        "new": shows(640, 360), "same": shows(640, 360), "larger": shows(1920, 1080), "turned": shows(360, 640),
        "closed": shows(0, 0), "unknown": shows(1, 1),
    }  # fmt: skip
    assert changed_pictures(stored, observations) == {"new": WIDE, "turned": TALL}


def test_a_caller_cannot_choose_a_version() -> None:
    drawn = Line(line_id="gate", version=9, points=UP.points)
    versioned, _ = domain.versioned(messages.camera_of(cam(lines=[drawn])).spec, {})
    assert versioned.lines[0].version == 1


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://joe:secret@h/live", "rtsp://joe:***@h/live"),
        ("rtsp://joe:se:c@ret@h/live", "rtsp://joe:***@h/live"),
        ("http://h/live.m3u8?token=abc&x=1", "http://h/live.m3u8?token=***&x=1"),
        ("rtsp://h/live", "rtsp://h/live"),
        ("rtsp://token@h/live", "rtsp://***@h/live"),
        ("rtsp://h/user=a_password=s_channel=1.sdp?x=1", "rtsp://h/user=a_password=***"),
        ("http://h/live?loginuse=a&loginpas=s", "http://h/live?loginuse=a&loginpas=***"),
    ],
)
def test_readers_see_no_secret_and_sending_the_address_back_changes_nothing(url: str, shown: str) -> None:
    assert sources.masked(url) == shown
    assert checks.url_with_secrets(shown, url) == url


@pytest.mark.parametrize(
    ("new", "stored", "result"),
    [
        ("rtsp://joe:***@h/other", "rtsp://joe:p%40ss@h/live", "rtsp://joe:p%40ss@h/other"),
        ("http://h/b?token=***&x=2", "http://h/a?token=t%26t", "http://h/b?token=t%26t&x=2"),
        ("rtsp://joe:new@h/live", "rtsp://joe:old@h/live", "rtsp://joe:new@h/live"),
        ("rtsp://joe:***@other/live", "rtsp://joe:old@h/live", None),
        ("rtsp://joe:***@h:555/live", "rtsp://joe:old@h/live", None),
        ("rtsp://eve:***@h/live", "rtsp://joe:old@h/live", None),
        ("rtsp://joe:***@h/live", "rtsp://joe@h/live", None),
        ("http://h/b?secret=***", "http://h/a?token=t", None),
        ("rtsp://joe:***@h/live", "", None),
    ],
)
def test_a_stored_secret_is_kept_for_the_same_host_and_user_alone(new: str, stored: str, result: str | None) -> None:
    if result is not None:
        assert checks.url_with_secrets(new, stored) == result
        return
    with pytest.raises(InvalidInputError) as caught:
        checks.url_with_secrets(new, stored)
    assert "old" not in str(caught.value.fields)


def test_a_mask_of_a_message_that_is_sent_without_one_names_what_is_set() -> None:
    camera = Camera(camera_id="door", name="x", stream_url="rtsp://h/live", spec=CameraSpec(min_score=0.5))
    assert messages.set_paths(camera) == ["name", "stream_url", "spec.min_score"]


def test_a_field_in_the_mask_that_is_not_set_is_cleared() -> None:
    stored = cam(lines=[UP], anchor=Point(x=0.5, y=0.5), min_score=0.5)
    changed = _changed(stored, Camera(), "name", "spec.lines", "spec.anchor", "spec.min_score")
    assert (changed.name, len(changed.spec.lines), changed.spec.min_score) == ("", 0, 0.0)
    assert not changed.spec.HasField("anchor")
    assert changed.stream_url == stored.stream_url
    assert _changed(stored, Camera(name="n"), "*").spec == CameraSpec()


def _changed(stored: Camera, update: Camera, *paths: str) -> Camera:
    changed = domain.changed(messages.camera_of(stored), messages.camera_of(update), paths)
    return messages.camera_message(changed)


IMAGE = [(0.3, 0.3), (0.7, 0.3), (0.95, 0.95), (0.05, 0.95)]
STREET = [(0.0, 30.0), (8.0, 30.0), (8.0, 0.0), (0.0, 0.0)]


def ground(image: list, places: list) -> cameras_pb2.GroundPlane:
    pairs = zip(image, places, strict=True)
    return cameras_pb2.GroundPlane(
        points=[{"image": {"x": x, "y": y}, "x_m": x_m, "y_m": y_m} for (x, y), (x_m, y_m) in pairs]
    )


def test_four_points_that_fix_a_ground_are_taken() -> None:
    assert checks.camera_problems(messages.camera_of(cam(ground_plane=ground(IMAGE, STREET))), 0.0) == []


@pytest.mark.parametrize(
    ("image", "places", "problem"),
    [
        (IMAGE[:3], STREET[:3], "has 3 entries"),
        ([], [], "has 0 entries"),
        ([(1.5, 0.5), *IMAGE[1:]], STREET, "lies outside"),
        (IMAGE, [(math.nan, 0.0), *STREET[1:]], "not within"),
        ([(0.1, 0.1), (0.5, 0.5), (0.9, 0.9), (0.1, 0.9)], STREET, "one line in the picture"),
        (IMAGE, [(0.0, 0.0), (4.0, 0.001), (8.0, 0.0), (0.0, 30.0)], "one line on the ground"),
        (IMAGE, [STREET[0], STREET[0], *STREET[2:]], "one line on the ground"),
        (IMAGE, [STREET[1], STREET[0], *STREET[2:]], "the horizon"),
    ],
)
def test_points_that_fix_no_ground_are_refused_by_field(image: list, places: list, problem: str) -> None:
    (found,) = checks.camera_problems(messages.camera_of(cam(ground_plane=ground(image, places))), 0.0)
    assert found.field.startswith("spec.ground_plane.points")
    assert problem in found.message


CORNERS = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)]
MOVES = st.lists(st.tuples(st.floats(-0.25, 0.25), st.floats(-0.25, 0.25)), min_size=4, max_size=4)


@given(MOVES, MOVES)
def test_the_data_plane_takes_the_grounds_that_are_stored_and_no_others(image_moved: list, ground_moved: list) -> None:
    def drawn(moved: list, scale: float) -> list:
        return [((x + dx) * scale, (y + dy) * scale) for (x, y), (dx, dy) in zip(CORNERS, moved, strict=True)]

    image, places = [(min(max(x, 0), 1), min(max(y, 0), 1)) for x, y in drawn(image_moved, 1)], drawn(ground_moved, 30)
    stored = not checks.camera_problems(messages.camera_of(cam(ground_plane=ground(image, places))), 0.0)
    try:
        GroundPlane(tuple(zip(image, places, strict=True)))
    except GeometryError:
        assert not stored
    else:
        assert stored
