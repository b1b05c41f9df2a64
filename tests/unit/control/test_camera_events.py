"""Events of cameras: any sequence of commands leaves the state that a simple model keeps, and can be made anew."""

import json
from dataclasses import dataclass, replace
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.fixtures.examples import is_fuzzing

from countline_common.display import Orientation, PictureShape
from countline_common.errors import ConflictError
from countline_control.cameras import domain, sources
from countline_control.cameras.commands import deciding
from countline_control.cameras.domain import Camera, CameraSpec, GeoPosition, LineSpec, MaskSpec, PlaybackMode, ZoneSpec
from countline_control.cameras.events import differences, messages
from countline_control.cameras.events.domain import (
    BrokenStreamError,
    CameraDeleted,
    CameraRenamed,
    Recorded,
    RecordedCamera,
    folded,
)
from countline_control.cameras.lifecycle import TRANSITIONS, WantedStatus
from countline_counting.spec import MaskKind

PASSWORDS = ("Pl4nted-0ne", "Pl4nted-Tw0")
URLS = (
    "rtsp://h/live",
    f"rtsp://joe:{PASSWORDS[0]}@h/live",
    f"rtsp://joe:{PASSWORDS[1]}@h/live",
    "file:///clips/a.mp4",
)
SHAPES = (((0.1, 0.2), (0.9, 0.2)), ((0.1, 0.4), (0.9, 0.4)), ((0.1, 0.6), (0.9, 0.6), (0.9, 0.9)))
AREAS = (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)), ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5)))
PICTURES = (
    PictureShape((640, 360)),
    PictureShape((1280, 720)),  # matches the first
    PictureShape((360, 640)),
    PictureShape((640, 360), Orientation.HALF_TURN),
)
CLASSES = ((), ("person",), ("person", "vehicle"), ("vehicle", "person"))

lines = st.lists(
    st.builds(LineSpec, st.sampled_from("abc"), st.sampled_from(SHAPES), st.sampled_from(CLASSES)),
    max_size=3,
    unique_by=lambda line: line.line_id,
).map(tuple)
zones = st.lists(
    st.builds(
        ZoneSpec, st.sampled_from("ab"), st.sampled_from(AREAS), st.sampled_from(CLASSES), st.just(0), st.booleans()
    ),
    max_size=2,
    unique_by=lambda zone: zone.zone_id,
).map(tuple)
masks = st.sampled_from([(), (MaskSpec("tree", AREAS[0], MaskKind.IGNORE),)])
positions = st.sampled_from([None, GeoPosition(52.5, 13.4), GeoPosition(0.0, 0.0)])
FIELDS = {
    "name": st.sampled_from(["Door", "Gate"]),
    "stream_url": st.sampled_from(URLS),
    "location": st.sampled_from(["", "Lobby"]),
    "position": positions,
    "floor": st.sampled_from(["", "2"]),
    "tags": st.sampled_from([(), ("a",), ("a", "b")]),
}
SPEC_FIELDS = {
    "lines": lines,
    "zones": zones,
    "masks": masks,
    "model": st.sampled_from(["", "net", "net@2"]),
    "processing_rate": st.sampled_from([0.0, 12.5]),
    "anchor": st.sampled_from([None, (0.5, 0.5)]),
    "min_score": st.sampled_from([0.0, 0.4]),
}


@dataclass
class Drawn:
    """What the model knows of a line or zone: the last geometry that counted, and the picture below it."""

    version: int
    geometry: tuple
    picture: PictureShape | None


class Lives(RuleBasedStateMachine):
    """One stream. The model keeps plain fields, and counts versions by comparing geometries themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[str, str] = {}
        self.ids = count(1)
        self.now = 1_800_000_000.0
        self.stream: list[Recorded] = []
        self.state = RecordedCamera()
        self.stored: Camera | None = None
        """With its password, as the service reads it from row and secret."""
        self.model: dict[str, object] | None = None
        self.drawn: dict[tuple[str, str], Drawn] = {}
        self.snapshots: list[tuple[int, dict]] = []

    # What the service does with a decision --------------------------------------------------------------------------

    def _secret_id(self, url: str) -> str:
        return f"secret-{next(self.ids)}" if sources.masked(url) != url else ""

    def _commit(self, decision: deciding.CameraDecision) -> None:
        events = differences.recorded(
            len(self.stream), decision.events, revision=decision.revision, at=self.now, actor="ann"
        )
        assert events, "a change without events would be lost"
        self.stream += [self._through_the_database(each) for each in events]
        before, self.state = self.state, folded(events, self.state)
        if self.state.secret_id != before.secret_id:
            self.secrets.pop(before.secret_id, None)
            if self.state.secret_id:
                self.secrets[self.state.secret_id] = decision.camera.stream_url
        camera = self.state.camera
        self.stored = None if camera is None else replace(camera, stream_url=self._address(camera))
        if camera is not None:
            assert self.stored == decision.camera, "the answer is what is stored"
        self.snapshots.append((len(self.stream), messages.state_json(self.state)))

    def _address(self, camera: Camera) -> str:
        return self.secrets[self.state.secret_id] if self.state.secret_id else camera.stream_url

    def _through_the_database(self, each: Recorded) -> Recorded:
        text = json.dumps(messages.event_json(each.event))
        assert not any(password in text for password in PASSWORDS), "events live for ever"
        return replace(each, event=messages.event_of(messages.event_kind(each.event), json.loads(text)))

    # The model ------------------------------------------------------------------------------------------------------

    def _draw(self, kind: str, items: tuple, picture: PictureShape | None) -> dict[str, tuple]:
        found = {}
        for item in items:
            name = item.line_id if kind == "line" else item.zone_id
            shape = (
                (item.points, frozenset(item.classes))
                if kind == "line"
                else (item.polygon, frozenset(item.classes), item.queue)
            )
            last = self.drawn.get((kind, name))
            turned = last is not None and last.picture and picture and not last.picture.matches(picture)
            if last is None or last.geometry != shape or turned:
                last = self.drawn[kind, name] = Drawn(last.version + 1 if last else 1, shape, picture)
            last.picture = last.picture or picture
            found[name] = (shape, item.classes, last.version)
        return found

    def _draw_all(self, spec: CameraSpec) -> None:
        assert self.model is not None
        picture = self.model["picture"]
        self.model["lines"] = self._draw("line", spec.lines, picture)
        self.model["zones"] = self._draw("zone", spec.zones, picture)

    # The commands ---------------------------------------------------------------------------------------------------

    @initialize(url=st.sampled_from(URLS), drawn=lines, areas=zones)
    def begin(self, url: str, drawn: tuple, areas: tuple) -> None:
        self.create(url, drawn, areas, WantedStatus.UNSPECIFIED)

    @precondition(lambda self: self.stored is None)
    @rule(
        url=st.sampled_from(URLS),
        drawn=lines,
        areas=zones,
        status=st.sampled_from([WantedStatus.UNSPECIFIED, WantedStatus.PAUSED, WantedStatus.INACTIVE]),
    )
    def create(self, url: str, drawn: tuple, areas: tuple, status: WantedStatus) -> None:
        self.now += 1
        wanted = Camera("door", "lab", "Door", url, status=status, spec=CameraSpec(lines=drawn, zones=areas))
        deciding.check_new(wanted, self.now)
        self._commit(deciding.creation(self.state, wanted, self.now, self._secret_id))
        wanted_status = WantedStatus.ACTIVE if status is WantedStatus.UNSPECIFIED else status
        self.model = {"name": "Door", "stream_url": url, "location": "", "position": None, "floor": "", "tags": ()}
        self.model |= {"status": wanted_status, "picture": None, "drawn_on": None, "revision": 1}
        self._draw_all(wanted.spec)

    @precondition(lambda self: self.stored is not None)
    @rule(own=st.fixed_dictionaries({}, optional=FIELDS), spec=st.fixed_dictionaries({}, optional=SPEC_FIELDS))
    def change(self, own: dict, spec: dict) -> None:
        assert self.stored is not None
        assert self.model is not None
        self.now += 1
        given = replace(Camera("door"), **own, spec=replace(CameraSpec(), **spec))
        paths = [*own, *(f"spec.{name}" for name in spec)]
        decision = deciding.change(self.state, self.stored, given, paths, self.now, self._secret_id)
        self.model |= own
        if {"lines", "zones"} & spec.keys():
            self.model["drawn_on"] = self.model["picture"]
            self._draw_all(replace(self.stored.spec, **{k: v for k, v in spec.items() if k in ("lines", "zones")}))
        if decision is not None:
            self.model["revision"] = int(str(self.model["revision"])) + 1
            self._commit(decision)

    @precondition(lambda self: self.stored is not None)
    @rule(status=st.sampled_from(list(TRANSITIONS)))
    def become(self, status: WantedStatus) -> None:
        assert self.stored is not None
        assert self.model is not None
        self.now += 1
        before = self.stored.status
        given = Camera("door", status=status)
        try:
            decision = deciding.change(self.state, self.stored, given, ["status"], self.now, self._secret_id)
        except ConflictError:
            assert status not in TRANSITIONS[before]
            return
        assert (decision is None) == (status is before)
        if decision is not None:
            self.model |= {"status": status, "revision": int(str(self.model["revision"])) + 1}
            self._commit(decision)

    @precondition(lambda self: self.stored is not None)
    @rule(picture=st.sampled_from(PICTURES))
    def see(self, picture: PictureShape) -> None:
        assert self.stored is not None
        assert self.model is not None
        self.now += 1
        decision = deciding.picture_seen(self.state, self.stored, picture, self.now)
        known = self.model["picture"]
        assert (decision is None) == (isinstance(known, PictureShape) and known.matches(picture))
        if decision is None:
            return
        old = (self.model["lines"], self.model["zones"])
        self.model["picture"] = picture
        self.model["drawn_on"] = self.model["drawn_on"] or picture
        self._draw_all(self.stored.spec)
        if (self.model["lines"], self.model["zones"]) != old:
            self.model["revision"] = int(str(self.model["revision"])) + 1
        self._commit(decision)

    @precondition(lambda self: self.stored is not None)
    @rule()
    def delete(self) -> None:
        assert self.stored is not None
        self.now += 1
        self._commit(deciding.deletion(self.stored))
        self.model = None

    # What holds after each command ----------------------------------------------------------------------------------

    @invariant()
    def the_state_is_that_of_the_model(self) -> None:
        assert (self.stored is None) == (self.model is None)
        assert {key: (last.version, last.picture) for key, last in self.state.versions.items()} == {
            key: (last.version, last.picture) for key, last in self.drawn.items()
        }
        if self.stored is None or self.model is None:
            assert self.secrets == {}, "secrets go with their camera"
            return
        own = {name: getattr(self.stored, name) for name in self.model if name not in ("lines", "zones")}
        assert own == {name: value for name, value in self.model.items() if name not in ("lines", "zones")}
        spec = self.stored.spec
        assert [
            (line.line_id, ((line.points, frozenset(line.classes)), line.classes, line.version)) for line in spec.lines
        ] == list(dict(self.model["lines"]).items())
        assert [
            (zone.zone_id, ((zone.polygon, frozenset(zone.classes), zone.queue), zone.classes, zone.version))
            for zone in spec.zones
        ] == list(dict(self.model["zones"]).items())
        assert len(self.secrets) == bool(self.state.secret_id)

    @invariant()
    def the_state_made_anew_is_equal(self) -> None:
        anew = folded(self.stream)
        assert messages.state_json(anew) == messages.state_json(self.state)
        assert messages.state_from_json(messages.state_json(anew)) == anew

    @invariant()
    def from_each_snapshot_the_rest_leads_to_the_same_state(self) -> None:
        for version, snapshot in self.snapshots[-3:]:
            anew = folded(self.stream[version:], messages.state_from_json(snapshot))
            assert messages.state_json(anew) == messages.state_json(self.state)


@pytest.mark.hypothesis
def test_any_commands_leave_the_state_of_a_simple_model_which_can_be_made_anew() -> None:
    sequences = 10_000 if is_fuzzing() else 15
    run_state_machine_as_test(Lives, settings=settings(max_examples=sequences, stateful_step_count=20))


def test_a_stream_whose_first_events_are_gone_is_broken() -> None:
    gone = Recorded(2, 2, 2, 5.0, "ann", CameraRenamed("Gate"))
    with pytest.raises(BrokenStreamError, match="event 2, CameraRenamed, follows no creation"):
        folded([gone])


def test_an_event_of_a_newer_release_is_refused_by_name() -> None:
    with pytest.raises(BrokenStreamError, match="CameraPainted"):
        messages.event_of("CameraPainted", {})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("CameraRenamed", {}),
        ("CameraRenamed", None),
        ("CameraRenamed", {"name": 5}),
        ("CameraTagged", {"tags": "abc"}),
        ("CameraTagged", {"tags": [1]}),
        ("LineDrawn", {"line": {"lineId": 7}, "fingerprint": "f"}),
        ("LineDrawn", {"line": "gate", "fingerprint": "f"}),
        ("PictureChanged", {"picture": None}),
        ("PictureChanged", {"picture": "wide"}),
        ("CameraConfigured", {"spec": {"model": []}}),
        ("CameraMoved", {"location": "", "position": {"latitude": 1.0}, "floor": ""}),
        ("CameraImported", {"camera": None}),
        ("CameraCreated", {"camera": {"camera_id": "door", "created_at": "then"}, "secret_id": ""}),
    ],
)
def test_an_event_whose_fields_were_changed_by_hand_is_refused_by_kind(kind: str, values: object) -> None:
    with pytest.raises(BrokenStreamError, match=f"the fields of an event {kind} cannot be read"):
        messages.event_of(kind, values)


def test_each_kind_of_event_survives_the_database() -> None:
    """The property test above sends all kinds but those of deletion through JSON too; this names the words."""
    assert messages.event_kind(CameraDeleted()) == "CameraDeleted"
    assert messages.event_of("CameraDeleted", messages.event_json(CameraDeleted())) == CameraDeleted()


def test_a_changed_password_is_a_change_though_readers_see_the_same_address() -> None:
    state = RecordedCamera(domain.for_readers(Camera("door", "lab", "Door", URLS[1])), "one")
    (event,) = differences.change(state, Camera("door", "lab", "Door", URLS[2]), "two")
    assert messages.event_json(event) == {"stream_url": "rtsp://joe:***@h/live", "secret_id": "two"}


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (WantedStatus.PAUSED, WantedStatus.ACTIVE, "CameraResumed"),
        (WantedStatus.INACTIVE, WantedStatus.ACTIVE, "CameraActivated"),
        (WantedStatus.PAUSED, WantedStatus.INACTIVE, "CameraDeactivated"),
        (WantedStatus.ACTIVE, WantedStatus.PAUSED, "CameraPaused"),
        (WantedStatus.ACTIVE, WantedStatus.RETIRED, "CameraRetired"),
    ],
)
def test_a_change_of_status_is_named_by_what_it_was(before: WantedStatus, after: WantedStatus, kind: str) -> None:
    state = RecordedCamera(Camera("door", "lab", "Door", status=before))
    (event,) = differences.change(state, Camera("door", "lab", "Door", status=after), "")
    assert messages.event_kind(event) == kind


def test_lines_are_ordered_by_an_event_only_where_drawing_gives_another_order() -> None:
    first, second = (LineSpec(name, SHAPES[0], version=1) for name in "ab")
    state = RecordedCamera(Camera("door", "lab", "Door", spec=CameraSpec(lines=(first,))))

    def kinds(*wanted: LineSpec) -> list[str]:
        after = Camera("door", "lab", "Door", spec=CameraSpec(lines=wanted))
        return [messages.event_kind(each) for each in differences.change(state, after, "")]

    assert kinds(first, second) == ["LineDrawn"]
    assert kinds(second, first) == ["LineDrawn", "DrawingsOrdered"]
    assert kinds(second) == ["LineRemoved", "LineDrawn"]


def test_playback_follows_from_the_address_in_the_events_too() -> None:
    state = RecordedCamera()
    wanted = Camera("door", "lab", "Door", "file:///clips/a.mp4")
    decision = deciding.creation(state, wanted, 5.0, lambda _: "")
    after = folded(differences.recorded(0, decision.events, revision=1, at=5.0, actor="ann"), state)
    assert after.camera is not None
    assert (after.camera.spec.playback, after.camera.spec.recorded_at) == (PlaybackMode.REALTIME, 5.0)
