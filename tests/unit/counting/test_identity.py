"""Names that must never change: their values are written here, so that a change of a recipe is seen.

If a test with a literal value fails, do not change the value: finished files would be counted again, and events would
count twice. Give the recipe a new tag, and add its values beside the old ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, make_dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_counting import identity
from countline_counting.geometry.ground import GroundPlane
from countline_counting.identity import (
    FiniteFile,
    Identity,
    counted_file_key,
    event_id,
    file_run_name,
    line_fingerprint,
    live_run_name,
    part_run_name,
    recorded_file_key,
    recording_run_name,
    rest_run_name,
    zone_fingerprint,
)
from countline_counting.spec import CountingSpec, Line, Mask, MaskKind, Zone

FILE = FiniteFile(content="00ff00ff00ff00ff", rate=12.5, recorded_at=1_772_366_400.0)
TRIANGLE = ((0.0, 0.0), (0.5, 0.0), (0.25, 0.1))
HALL = ((0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0))
GROUND = GroundPlane(
    (((0.3, 0.3), (0.0, 30.0)), ((0.7, 0.3), (8.0, 30.0)), ((0.9, 0.9), (8.0, 0.0)), ((0.1, 0.9), (0.0, 0.0)))
)
SPEC = CountingSpec(
    lines=(Line("gate", ((0.1, 0.5), (0.9, 0.5)), 3, frozenset({"person", "bicycle"})),),
    zones=(Zone("hall", HALL, 2, frozenset(), queue=True),),
    anchor=(0.5, 1.0),
    min_score=0.3,
    ground=GROUND,
    min_track_age_s=0.5,
    min_track_score=0.4,
    masks=(Mask("tree", TRIANGLE, MaskKind.IGNORE), Mask("street", HALL, MaskKind.INCLUDE)),
)
DOOR = Identity("door", 7, "018f3a2b4c5d6e7f8")


def test_ids_of_events_have_these_values() -> None:
    assert event_id(DOOR, "line", "gate", 3, 12, 0) == "408b563a35450c7d1ec8818be92cb653"
    assert event_id(DOOR, "zone", "Tür", 1, 12, 4) == "67f8281dca7d49582f9b25922b5c457a"
    assert (
        event_id(Identity("count", 0, "9c1185a5c5e9fc54"), "trajectory", "", 0, 1, 2)
        == "d63b52cd9ca09b5a1878d71168029ffb"
    )


def test_names_of_the_runs_of_files_have_these_values() -> None:
    """The names hold for version 8 of the counting rule. Only another version of the rule may change them."""
    assert file_run_name(FILE, "yolox@3", SPEC) == "ed9c6a45ed098c3a"
    assert (
        file_run_name(FiniteFile("https://host/film.mp4", 0.0, 0.0), "file:0123456789abcdef", CountingSpec())
        == "7c59985bd7ecc56e"
    )
    assert rest_run_name("9c1185a5c5e9fc54", "018f3a2b4c5d6e7f", 250) == "a452696780f8effe"
    assert [part_run_name("9c1185a5c5e9fc54", part) for part in (0, 1, 2)] == [
        "9c1185a5c5e9fc54",
        "9c1185a5c5e9fc54.1",
        "9c1185a5c5e9fc54.2",
    ]
    assert (
        recording_run_name(FILE.content, tracked=True, fps=25.0, size_wh=(1280, 720), spec=SPEC) == "5af400676892e78c"
    )
    assert (
        recording_run_name(FILE.content, tracked=False, fps=0.0, size_wh=(768, 576), spec=CountingSpec())
        == "6cc001642b92b738"
    )


def test_the_name_of_a_live_run_is_its_time_and_its_random_bits() -> None:
    assert live_run_name(1_772_366_400_000, 0xABC) == "19ca9450a00000abc"


def test_keys_of_counted_files_have_these_values() -> None:
    assert counted_file_key("door", FILE, SPEC) == "2ba9a4d79e969a01"
    assert counted_file_key("gate", FiniteFile("https://host/film.mp4", 0.0, 0.0), CountingSpec()) == "ed1950c4b71c97f6"


def test_every_run_over_a_file_has_the_key_of_its_content_and_time() -> None:
    film = FiniteFile("https://host/film.mp4", 0.0, 0.0)
    assert recorded_file_key(film) == "6c65042474e8f1d2"
    assert recorded_file_key(replace(film, rate=5.0)) == recorded_file_key(film)
    others = replace(film, content="other"), replace(film, recorded_at=1.0)
    assert len({recorded_file_key(file) for file in (film, *others)}) == 3


def test_fingerprints_of_lines_and_zones_have_these_values() -> None:
    """They decide when a line gets a new version, which is in the id of each of its crossings."""
    assert line_fingerprint(((0.1, 0.5), (0.9, 0.5)), ("person", "bicycle")) == "116a80f5e7ddccb49b1602be16965b7a"
    assert zone_fingerprint(HALL, (), queue=False) == "4c05b5b76037a0ad3ff6ab854687f5cd"
    assert zone_fingerprint(HALL, (), queue=True) == "6cff8823904667d13d744394880d102b"
    assert line_fingerprint(HALL, ()) != zone_fingerprint(HALL, (), queue=False)
    assert line_fingerprint(HALL, ("b", "a", "b")) == line_fingerprint(HALL, ("a", "b"))
    assert line_fingerprint(((-0.0, 0.0), (1.0, 1.0)), ()) == line_fingerprint(((0.0, 0.0), (1.0, 1.0)), ())


def test_names_depend_on_values_and_not_on_the_classes_that_hold_them() -> None:
    """The name was a hash of `repr()` of dataclasses, so that renaming a class counted every file again."""
    names = ("id", "points", "version", "classes")
    renamed = make_dataclass("Renamed", ["version", "classes", "points", "id"], frozen=True)
    line = renamed(**{name: getattr(SPEC.lines[0], name) for name in names})
    other = replace(SPEC, lines=(line,))
    assert repr(other) != repr(SPEC)
    assert counted_file_key("door", FILE, other) == counted_file_key("door", FILE, SPEC)

    @dataclass(frozen=True)
    class Film:
        recorded_at: float
        rate: float
        content: str

    film = Film(FILE.recorded_at, FILE.rate, FILE.content)
    assert file_run_name(film, "yolox@3", SPEC) == file_run_name(FILE, "yolox@3", SPEC)


def test_another_version_of_the_counting_rule_gives_other_runs_but_the_same_keys_and_event_recipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [name() for name in NAMES.values()]
    monkeypatch.setattr(identity, "COUNTING_RULE_VERSION", identity.COUNTING_RULE_VERSION + 1)
    after = [name() for name in NAMES.values()]
    assert [a == b for a, b in zip(before, after, strict=True)] == [name not in {"run", "recording"} for name in NAMES]


NAMES: dict[str, Callable[[], str]] = {
    "run": lambda: file_run_name(FILE, "yolox@3", SPEC),
    "recording": lambda: recording_run_name("00", tracked=True, fps=25.0, size_wh=(1280, 720), spec=SPEC),
    "key": lambda: counted_file_key("door", FILE, SPEC),
    "event": lambda: event_id(DOOR, "line", "gate", 3, 12, 0),
    "rest": lambda: rest_run_name("9c1185a5c5e9fc54", "018f3a2b4c5d6e7f", 250),
}

IN_RUN_AND_KEY = {
    "min_score": replace(SPEC, min_score=0.30000000000000004),
    "anchor": replace(SPEC, anchor=(0.5, 0.5)),
    "kind of a mask": replace(SPEC, masks=(Mask("tree", TRIANGLE, MaskKind.INCLUDE), SPEC.masks[1])),
    "outline of a mask": replace(SPEC, masks=(Mask("tree", TRIANGLE[::-1], MaskKind.IGNORE), SPEC.masks[1])),
    "no masks": replace(SPEC, masks=()),
}
IN_KEY_ONLY = {
    "min_track_age_s": replace(SPEC, min_track_age_s=0.6),
    "min_track_score": replace(SPEC, min_track_score=0.0),
    "ground": replace(SPEC, ground=None),
    "another line": replace(SPEC, lines=(*SPEC.lines, Line("door", ((0.0, 0.0), (1.0, 1.0))))),
    "version of a line": replace(SPEC, lines=(replace(SPEC.lines[0], version=4),)),
    "classes of a line": replace(SPEC, lines=(replace(SPEC.lines[0], classes=frozenset()),)),
    "points of a line": replace(SPEC, lines=(replace(SPEC.lines[0], points=((0.9, 0.5), (0.1, 0.5))),)),
    "queue": replace(SPEC, zones=(replace(SPEC.zones[0], queue=False),)),
    "no zone": replace(SPEC, zones=()),
}
IN_NEITHER = {
    "order of masks": replace(SPEC, masks=SPEC.masks[::-1]),
    "id of a mask": replace(SPEC, masks=(replace(SPEC.masks[0], id="oak"), SPEC.masks[1])),
    "minus zero": replace(SPEC, masks=(replace(SPEC.masks[0], polygon=((-0.0, 0.0), *TRIANGLE[1:])), SPEC.masks[1])),
}


@pytest.mark.parametrize("what", [*IN_RUN_AND_KEY, *IN_KEY_ONLY, *IN_NEITHER])
def test_what_decides_tracks_is_in_the_name_of_the_run_and_what_selects_events_in_the_key(what: str) -> None:
    spec = {**IN_RUN_AND_KEY, **IN_KEY_ONLY, **IN_NEITHER}[what]
    assert (file_run_name(FILE, "m@1", spec) != file_run_name(FILE, "m@1", SPEC)) == (what in IN_RUN_AND_KEY)
    assert (counted_file_key("door", FILE, spec) != counted_file_key("door", FILE, SPEC)) == (what not in IN_NEITHER)


def test_the_file_and_the_model_are_in_the_name_and_the_model_is_not_in_the_key() -> None:
    others = (replace(FILE, content="01"), replace(FILE, rate=0.0), replace(FILE, recorded_at=0.0))
    assert len({file_run_name(file, "m@1", SPEC) for file in (FILE, *others)}) == 4
    assert len({counted_file_key("door", file, SPEC) for file in (FILE, *others)}) == 4
    assert len({file_run_name(FILE, model, SPEC) for model in ("m@1", "m@2", "m")}) == 3
    assert counted_file_key("door", FILE, SPEC) != counted_file_key("gate", FILE, SPEC)


TEXTS = st.text(alphabet=st.sampled_from("ab1:,.-0 é\x00"), max_size=4)
EVENTS = st.tuples(
    st.builds(Identity, TEXTS, st.integers(0, 20), TEXTS),
    st.sampled_from(["line", "zone", "trajectory"]),
    TEXTS,
    st.integers(0, 20),
    st.integers(0, 200),
    st.integers(0, 20),
)


@given(EVENTS, EVENTS)
def test_events_that_differ_in_any_field_have_different_ids(one: tuple, other: tuple) -> None:
    assert (event_id(*one) == event_id(*other)) == (one == other)


POINTS = st.tuples(st.sampled_from([0.0, 0.25, 0.5]), st.sampled_from([0.0, 0.75, 1.0]))
LINES = st.builds(
    Line,
    st.sampled_from(["a", "b", "1", "2"]),
    st.lists(POINTS, min_size=2, max_size=4, unique=True).map(tuple),
    st.integers(1, 3),
    st.frozensets(st.sampled_from(["a", "1", "2"]), max_size=2),
)
MASKS = st.builds(
    Mask,
    st.sampled_from(["a", "b"]),
    st.sampled_from([TRIANGLE, HALL, (*HALL[:2], HALL[2])]),
    st.sampled_from(MaskKind),
)
SPECS = st.builds(
    CountingSpec,
    lines=st.lists(LINES, max_size=2, unique_by=lambda line: line.id).map(tuple),
    masks=st.lists(MASKS, max_size=2, unique_by=lambda mask: mask.id).map(tuple),
    min_score=st.sampled_from([0.0, 0.5]),
)


def _detection(spec: CountingSpec) -> tuple:
    return spec.min_score, sorted((mask.kind, mask.polygon) for mask in spec.masks)


@given(SPECS, SPECS, TEXTS, TEXTS)
def test_specs_that_differ_have_different_names(one: CountingSpec, other: CountingSpec, model: str, name: str) -> None:
    same = _detection(one) == _detection(other)
    assert (file_run_name(FILE, model, one) == file_run_name(FILE, name, other)) == (same and model == name)
    same_lines = set(one.lines) == set(other.lines)
    assert (counted_file_key("c", FILE, one) == counted_file_key("c", FILE, other)) == (same and same_lines)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_in_names_exactly(one: float, other: float) -> None:
    names = [file_run_name(replace(FILE, recorded_at=value), "m", SPEC) for value in (one, other)]
    assert (names[0] == names[1]) == (one == other)


def test_what_is_no_number_names_nothing() -> None:
    with pytest.raises(ValueError, match="finite"):
        file_run_name(replace(FILE, rate=float("nan")), "m", SPEC)
