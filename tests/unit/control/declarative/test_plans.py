"""Plans of `countline apply`: carried out by the rules of the service, they lead to what is stated, then to nothing."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from countline_common.redaction import MASK
from countline_control.cameras import domain
from countline_control.cameras.domain import Camera, GeoPosition, GroundPoint, LineSpec, MaskSpec, Site, ZoneSpec
from countline_control.cameras.events.consequences import REOPEN_S, Effect, camera_consequences
from countline_control.cameras.lifecycle import WantedStatus
from countline_control.declarative.exporting import document_of, file_text
from countline_control.declarative.fields import CAMERA_FIELDS, Field
from countline_control.declarative.planning import Action, Change, Plan, State, plan_of
from countline_control.declarative.stating import read_statement
from countline_counting.spec import MaskKind
from countline_pipelines.sources import Playback, SourceSpec

NOW = 1_780_000_000.0
LAB = Site("lab", "", "UTC")
TRIANGLE = ((0.1, 0.1), (0.9, 0.1), (0.5, 0.9))
STREAM = "rtsp://joe:***@10.0.0.7/live"


def camera(**changes: Any) -> Camera:
    made = Camera("door", site_id="lab", name="Door", stream_url=STREAM, status=WantedStatus.ACTIVE, revision=1)
    own = {name: value for name, value in changes.items() if name in domain.OWN_FIELDS}
    spec = {name: value for name, value in changes.items() if name not in own}
    made = domain.with_defaults(replace(made, **own, spec=replace(made.spec, **spec)), NOW)
    return replace(made, spec=domain.versioned(made.spec, {})[0])


def state_of(*cameras: Camera) -> State:
    return State({"lab": LAB}, {each.camera_id: each for each in cameras})


def plan(text: str, state: State, *, prune: bool = False) -> Plan:
    statement = read_statement([("site.yaml", text)])
    assert not statement.problems
    return plan_of(statement, state, NOW, prune=prune)


def carried_out(changes: Plan, state: State) -> State:
    """What the service makes of a plan: the rules of `cameras.domain`, on one version of each line."""
    sites, cameras = dict(state.sites), dict(state.cameras)
    for change in changes.changes:
        if isinstance(change.after, Site):
            sites[change.key] = change.after
        elif change.after is None:
            del cameras[change.key]
        else:
            cameras[change.key] = _stored(change, change.after)
    return State(sites, cameras)


def _stored(change: Change, wanted: Camera) -> Camera:
    if isinstance(change.before, Camera):
        wanted = domain.changed(change.before, wanted, change.paths)
        wanted = replace(wanted, revision=change.before.revision + 1)
    made = domain.with_defaults(wanted, NOW)
    return domain.for_readers(replace(made, spec=domain.versioned(made.spec, {})[0]))


ids = st.sampled_from(["gate", "till", "yard", "hall"])
classes = st.lists(st.sampled_from(["person", "car"]), unique=True, max_size=2).map(tuple)
fraction = st.floats(0.0, 1.0).map(abs)


@st.composite
def specs(draw: Callable[..., Any]) -> dict[str, Any]:
    names = draw(st.lists(ids, unique=True))
    lines = tuple(LineSpec(name, ((0.1, draw(fraction)), (0.9, 0.5)), draw(classes)) for name in names)
    zones = tuple(ZoneSpec(name, TRIANGLE, draw(classes), queue=draw(st.booleans())) for name in names)
    masks = tuple(MaskSpec(name, TRIANGLE, draw(st.sampled_from(list(MaskKind)))) for name in reversed(names))
    ground = tuple(GroundPoint(*each) for each in (((0, 0), 0, 9), ((1, 0), 9, 9), ((1, 1), 9, 0), ((0, 1), 0, 0)))
    return {
        "lines": lines,
        "zones": zones,
        "masks": masks,
        "processing_rate": draw(st.sampled_from([0.0, 12.0, 7.5])),
        "min_score": draw(fraction),
        "anchor": draw(st.none() | st.tuples(fraction, fraction)),
        "ground_plane": draw(st.none() | st.just(ground)),
        "model": draw(st.sampled_from(["", "people", "people@3"])),
        "name": draw(st.sampled_from(["Door", "no", "0x1f", "入口", "null", "- a: b #c"])),
        "location": draw(st.sampled_from(["", "yes", "Lobby: left", "'\""])),
        "floor": draw(st.sampled_from(["", "2", "-1", "1e3"])),
        "position": draw(st.none() | st.builds(GeoPosition, st.floats(-90, 90), st.floats(-180, 180))),
        "tags": draw(st.lists(st.sampled_from(["north", "007", "on"]), unique=True).map(tuple)),
        "status": draw(st.sampled_from([WantedStatus.ACTIVE, WantedStatus.PAUSED])),
    }


def value_of(field: Field, state: State) -> object:
    """The value of a field; the order of lines, zones and masks means nothing."""
    value = field.get(state.cameras["door"])
    return sorted(value, key=repr) if isinstance(value, tuple) else value


@given(specs(), specs())
def test_an_exported_camera_is_restored_by_apply_and_then_nothing_changes(old: dict, new: dict) -> None:
    wanted = state_of(camera(**old))
    text = file_text(document_of(wanted.sites.values(), list(wanted.cameras.values())))
    assert plan(text, wanted).changes == ()
    present = state_of(camera(**new))
    first = plan(text, present)
    assert not first.problems
    restored = carried_out(first, present)
    for field in CAMERA_FIELDS:
        assert value_of(field, restored) == value_of(field, wanted), field.name
    assert plan(text, restored).changes == ()


@given(specs(), st.sets(st.sampled_from([field.name for field in CAMERA_FIELDS])))
def test_what_a_file_leaves_out_stays(stored: dict, left_out: set) -> None:
    before = state_of(camera(**stored))
    wanted = camera(name="Other", location="Yard", lines=(LineSpec("x", TRIANGLE),))
    document = document_of([LAB], [wanted])
    for name in left_out:
        del document["cameras"]["door"][name]
    first = plan(yaml.safe_dump(document), before)
    assert not first.problems
    after = carried_out(first, before)
    for field in CAMERA_FIELDS:
        source = before if field.name in left_out else state_of(wanted)
        assert value_of(field, after) == value_of(field, source), field.name
    assert plan(yaml.safe_dump(document), after).changes == ()


def test_an_export_holds_no_password_even_for_a_caller_that_reads_them() -> None:
    text = file_text(document_of([LAB], [camera(stream_url="rtsp://joe:secret@h/live?token=abc")]))
    assert "secret" not in text
    assert "abc" not in text
    assert MASK in text


def change(text: str, stored: Camera) -> Change:
    (found,) = plan(f"cameras:\n  door:\n    site: lab\n{text}", state_of(stored)).changes
    return found


@pytest.mark.parametrize(
    ("stored", "text", "effects", "lost_s"),
    [
        ({}, "    rate: 12", [Effect.NEW_RUN], REOPEN_S),
        ({}, "    stream_url: rtsp://10.0.0.8/live", [Effect.NEW_RUN], REOPEN_S),
        ({}, "    model: people@3", [Effect.NEW_RUN], REOPEN_S),
        ({}, "    lines: ['a:0,0,1,1']", [Effect.NEW_VERSION, Effect.NO_GAP], 0),
        ({}, "    anchor: centre", [Effect.RULE, Effect.NO_GAP], 0),
        ({"lines": (LineSpec("a", TRIANGLE),)}, "    lines: []", [Effect.REMOVED, Effect.NO_GAP], 0),
        ({"lines": (LineSpec("a", TRIANGLE),)}, "    lines: ['a:0,0,1,1']", [Effect.NEW_VERSION, Effect.NO_GAP], 0),
        ({"stream_url": "file:///a.mp4"}, "    lines: ['a:0,0,1,1']", [Effect.NEW_VERSION, Effect.RECOUNT], 0),
        ({"stream_url": "file:///a.mp4"}, "    rate: 3", [Effect.RECOUNT], 0),
        ({}, "    status: paused", [Effect.STOP], None),
        ({"status": WantedStatus.PAUSED}, "    status: active", [Effect.START], 0),
        ({"status": WantedStatus.PAUSED}, "    rate: 12", [], 0),
        ({}, "    location: Yard", [], 0),
    ],
)
def test_a_change_states_what_it_means_for_counting(stored: dict, text: str, effects: list, lost_s: object) -> None:
    found = change(text, camera(**stored)).consequences
    assert [each.effect for each in found] == effects
    assert (None if None in [each.lost_s for each in found] else sum(each.lost_s for each in found)) == lost_s


def test_a_line_that_changes_names_both_versions() -> None:
    before = camera(lines=(LineSpec("gate", TRIANGLE),))
    known = {("line", "gate"): domain.GeometryVersion(4, "another")}
    spec, _ = domain.versioned(replace(before.spec, lines=(LineSpec("gate", ((0, 0), (1, 1))),)), known)
    (first, _) = camera_consequences(before, replace(before, spec=spec))
    assert first.text == "line gate counts with version 5; the counts of version 1 stay apart"


def test_an_attempt_to_open_a_source_ends_within_the_stated_time() -> None:
    """The plan promises what the data plane does; neither room imports the other."""
    assert SourceSpec("rtsp://h/1", Playback.LIVE).open_timeout_s <= REOPEN_S


def test_another_order_is_no_change() -> None:
    stored = camera(lines=(LineSpec("a", ((0, 0), (1, 1))), LineSpec("b", ((0, 1), (1, 0)))))
    text = "cameras: {door: {site: lab, lines: ['b:0,1,1,0', 'a:0,0,1,1']}}"
    assert plan(text, state_of(stored)).changes == ()


def test_prune_deletes_only_cameras_of_the_sites_of_the_file() -> None:
    elsewhere = replace(camera(), camera_id="far", site_id="yard")
    old = replace(camera(), camera_id="old")
    state = State({"lab": LAB, "yard": Site("yard", "", "UTC")}, {"far": elsewhere, "old": old, "door": camera()})
    text = "cameras: {door: {site: lab}}"
    assert plan(text, state).changes == ()
    (found,) = plan(text, state, prune=True).changes
    assert (found.action, found.key, found.is_final) == (Action.DELETE, "old", True)
    assert [each.effect for each in found.consequences] == [Effect.STOP, Effect.HISTORY]


def test_a_retirement_cannot_be_taken_back() -> None:
    assert change("    status: retired", camera()).is_final


def test_problems_name_the_line_of_the_field() -> None:
    text = """\
cameras:
  door:
    site: yard
  gate:
    site: lab
    stream_url: rtsp://joe:***@h/1
    rate: 1000000
    lines:
      - a:0,0,1,1
      - b:0,0,2,2
  till:
    site: nowhere
    stream_url: ftp://h
"""
    found = [str(each) for each in plan(text, state_of(camera())).problems]
    for line, words in (
        (3, "belongs to site 'lab'"),
        (6, "has *** for a password"),
        (7, "rate 1e+06 is not in 0.."),
        (10, "(2, 2) lies outside"),
        (12, "there is no site 'nowhere'"),
        (13, "stream_url "),
    ):
        assert any(each.startswith(f"site.yaml:{line}: ") and words in each for each in found), (words, found)


def test_a_stated_password_is_compared_by_the_service_and_never_shown() -> None:
    found = change("    stream_url: rtsp://joe:secret@10.0.0.7/live", camera())
    assert found.is_open
    assert found.paths == ("stream_url",)
    assert "secret" not in json.dumps([str(each) for each in (*found.differences, *found.consequences)])
