"""What is true of a clip: how it is written, what is said where it cannot be read, and when a count fits it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline_common.errors import InternalError, InvalidInputError
from countline_common.triton import ModelRef
from countline_models.deploy import ClipLine, ClipTruth, CountedLine, demo_golden, golden_problem, parse_truth
from countline_models.deploy.golden import _command, relayed

DOOR = {"points": [[0.1, 0.5], [0.9, 0.5]], "in": 3, "out": 2}


def test_our_own_way_of_writing_it_is_read() -> None:
    text = json.dumps({"lines": {"door": DOOR}, "tolerance": 0.1, "classes": ["person"]})
    assert parse_truth(text) == ClipTruth({"door": ClipLine(((0.1, 0.5), (0.9, 0.5)), 3, 2)}, 0.1, ("person",))
    assert parse_truth(json.dumps({"lines": {"door": DOOR}})).tolerance == 0.0


def test_a_clip_that_was_gone_through_by_hand_is_read(shared_data: Path) -> None:
    truth = parse_truth((shared_data / "videos" / "car.truth.json").read_text())
    assert {name: (line.into, line.out) for name, line in truth.lines.items()} == {
        "middle_horizontal": (2, 2),
        "right_lane_diagonal": (2, 0),
    }
    assert truth.lines["right_lane_diagonal"].points == ((480 / 768, 200 / 432), (290 / 768, 312 / 432))


HAND = {
    "size": [768, 432],
    "lines": [{"name": "middle", "a": [0, 208], "b": [768, 208]}],
    "totals": {"middle": {"positive": 2, "negative": 1}},
}


def test_pixels_become_shares_and_signs_become_directions() -> None:
    expected = ClipTruth({"middle": ClipLine(((0.0, 208 / 432), (1.0, 208 / 432)), 2, 1)})
    assert parse_truth(json.dumps(HAND)) == expected


def test_the_description_of_a_rendered_clip_is_read() -> None:
    rendered = {
        "lines": [{"id": "road", "points": [[0.5, 0.2], [0.5, 0.8]]}],
        "truth": [{"line": "road", "t": 1.0, "direction": way, "class": "vehicle"} for way in ("in", "out", "in")],
    }
    assert parse_truth(json.dumps(rendered)) == ClipTruth({"road": ClipLine(((0.5, 0.2), (0.5, 0.8)), 2, 1)})


UNREADABLE = [
    ("{", "is not JSON: .* in line 1, column 2"),
    ("[]", "the truth of the clip: it: "),
    ("{}", "lines: field required"),
    ("1" * 5000, "is not JSON: "),
    (json.dumps({"lines": {"door": {**DOOR, "in": 10**400}}}), r"lines\.door\.in: input should be less than"),
    ('{"lines": {}}', "lines: dictionary should have at least 1 item"),
    (
        json.dumps({"lines": {"door": {**DOOR, "in": -1}}}),
        r"lines\.door\.in: input should be greater than or equal to 0",
    ),
    (json.dumps({"lines": {"door": {**DOOR, "out": 1.5}}}), r"lines\.door\.out: input should be a valid integer"),
    (json.dumps({"lines": {"door": {**DOOR, "out": "2"}}}), r"lines\.door\.out: input should be a valid integer"),
    (
        json.dumps({"lines": {"door": {**DOOR, "points": [[0, 1]]}}}),
        r"lines\.door\.points: list should have at least 2",
    ),
    (
        json.dumps({"lines": {"door": {**DOOR, "points": [[0, 1], [0, 240]]}}}),
        r"lines\.door\.points\[1\]\[1\]: input should be less than or equal to 1",
    ),
    (json.dumps({"lines": {"door": {**DOOR, "inn": 3}}}), r"lines\.door\.inn: extra inputs are not permitted"),
    (json.dumps({"lines": {"": DOOR}}), r"lines\.\.\[key\]: string should have at least 1 character"),
    (json.dumps({"lines": {"door": DOOR}, "tolerance": 5}), "tolerance: input should be less than or equal to 1"),
    (json.dumps({**HAND, "totals": {}}), r"totals\.middle: is missing"),
    (json.dumps({**HAND, "size": [768, 0]}), r"size\[1\]: input should be greater than 0"),
]


@pytest.mark.parametrize(("text", "problem"), UNREADABLE, ids=[problem for _, problem in UNREADABLE])
def test_what_cannot_be_read_is_refused_with_the_path_of_the_field(text: str, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem) as caught:
        parse_truth(text)
    assert '"lines": {"NAME"' in caught.value.hint


COUNTED = [
    ((4, 3), 0.0, None),
    ((3, 3), 0.0, "line 'road' counted 3 in and 3 out instead of 4 in and 3 out"),
    ((4, 4), 0.0, "line 'road' counted 4 in and 4 out instead of 4 in and 3 out"),
    ((3, 4), 0.0, "line 'road' counted 3 in and 4 out instead of 4 in and 3 out"),
    ((3, 3), 0.15, None),
    ((3, 4), 0.15, "instead of 4 in and 3 out; 15% of a line's crossings may be wrong"),
    ((3, 4), 0.3, None),
    ((0, 0), 1.0, None),
]


@pytest.mark.parametrize(("counted", "tolerance", "problem"), COUNTED)
def test_counts_are_held_to_the_truth_line_by_line(
    counted: tuple[int, int], tolerance: float, problem: str | None
) -> None:
    truth = ClipTruth({"road": ClipLine(((0.5, 0), (0.5, 1)), 4, 3)}, tolerance)
    found = golden_problem([CountedLine("road", 4, 3, *counted)], truth)
    assert found is None if problem is None else found is not None and found.endswith(problem)


def test_a_line_that_was_not_counted_is_a_problem() -> None:
    truth = ClipTruth({"road": ClipLine(((0.5, 0), (0.5, 1)), 0, 0)}, 1.0)
    assert golden_problem([], truth) == "line 'road' was not counted; 100% of a line's crossings may be wrong"


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.floats(0, 1))
def test_a_larger_tolerance_never_refuses_what_a_smaller_one_lets_pass(
    true_in: int, true_out: int, counted_in: int, counted_out: int, tolerance: float
) -> None:
    line = CountedLine("road", true_in, true_out, counted_in, counted_out)
    lines = {"road": ClipLine(((0.5, 0), (0.5, 1)), true_in, true_out)}
    strict, loose = (golden_problem([line], ClipTruth(lines, share)) for share in (tolerance / 2, tolerance))
    assert strict is not None or loose is None
    exact = (counted_in, counted_out) == (true_in, true_out)
    assert (golden_problem([line], ClipTruth(lines)) is None) == exact


def test_the_count_is_asked_for_without_its_answer() -> None:
    truth = ClipTruth({"a:b": ClipLine(((0.25, 0.1), (0.5, 1 / 3)), 17, 19)}, classes=("person", "car"))
    command = _command("127.0.0.1:9001", ModelRef("gate", 2), Path("-x.mp4"), truth)
    expected = [
        *("count", "--json", "--progress-json", "--triton", "127.0.0.1:9001", "--model", "gate@2"),
        *("--line=a:b:0.25,0.1,0.5,0.333333", "--classes=person,car", "--", "-x.mp4"),
    ]
    assert command[-len(expected) :] == expected


def test_the_words_of_the_count_are_handed_on() -> None:
    error = relayed(["note: slow", "error: no such file", "hint: check the path"], "x.mp4 cannot be counted")
    assert (str(error), error.hint) == ("x.mp4 cannot be counted: no such file", "check the path")
    assert isinstance(error, InvalidInputError)
    assert isinstance(relayed(["Segmentation fault"], "x"), InternalError)


@pytest.mark.parametrize("labels", [(), ("person",), ("person", "car"), ("person", "vehicle", "dog")])
def test_a_model_of_other_classes_gets_no_demo_clip(labels: tuple[str, ...], tmp_path: Path) -> None:
    assert demo_golden(labels, tmp_path) is None
    assert list(tmp_path.iterdir()) == []
