"""Recordings, the options that say what to count, and `countline replay` as a whole."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from countline_common.cli.app import app
from countline_common.errors import InvalidInputError
from countline_counting.text import read_anchor
from countline_pipelines.cli.replay import count_recording
from countline_pipelines.cli.spec_args import parse_size, parse_spec
from countline_pipelines.offline.replay import read_jsonl, read_mot

CASES = Path("conformance") / "cases.json"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(*args: str) -> dict:
    result = CliRunner().invoke(app, ["replay", *args, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def walk(path: Path, **extra: object) -> Path:
    """One person who walks down over y = 360."""
    rows = []
    for i in range(31):
        y = 200 + i * 320 / 30
        rows.append(
            json.dumps({"t": i / 10, "objects": [{"id": 7, "box": [580, y - 80, 620, y], "score": 0.9, **extra}]})
        )
    return write(path, *rows)


def test_replay_prints_every_line_and_zone_zeros_included(tmp_path):
    found = run(
        str(walk(tmp_path / "a.jsonl")),
        *("--size", "1280x720", "--tracked", "--pixels"),
        *(
            "--line",
            "gate:300,360,900,360",
            "--line",
            "far:0,700,100,700",
            "--zone",
            "room:500,300,700,300,700,600,500,600",
        ),
    )
    assert found["frames"] == 31
    assert found["duration_s"] == pytest.approx(3.1)
    assert found["lines"]["gate"] == {
        "in": 1,
        "out": 0,
        "net": 1,
        "u_turns": 0,
        "by_class": {"0": {"in": 1, "out": 0}},
    }
    assert found["lines"]["far"] == {"in": 0, "out": 0, "net": 0, "u_turns": 0, "by_class": {}}
    assert found["zones"]["room"]["entries"] == 1
    (event,) = found["events"]
    assert event["line"] == "gate"
    assert event["direction"] == "in"
    assert event["frame"] == 15
    assert set(event) >= {"id", "t", "decided_at", "frame", "line", "direction", "track", "class"}


def test_ids_of_events_do_not_depend_on_where_the_file_lies(tmp_path):
    (tmp_path / "deep").mkdir()
    options = ("--size", "1280x720", "--tracked", "--line", "gate:0.23,0.5,0.7,0.5")
    here = run(str(walk(tmp_path / "a.jsonl")), *options)
    there = run(str(walk(tmp_path / "deep" / "b.jsonl")), *options)
    assert here == there


def test_the_same_walk_is_counted_from_mot_text_with_and_without_ids(tmp_path):
    rows = [f"{i + 1},3,580,{200 + i * 320 / 30 - 80},40,80,0.9,-1,-1,-1" for i in range(31)]
    path = str(write(tmp_path / "a.txt", *rows))
    options = ("--format", "mot", "--fps", "10", "--size", "1280x720", "--line", "gate:0.23,0.5,0.7,0.5")
    for extra in ((), ("--tracked",)):
        assert run(path, *options, *extra)["lines"]["gate"]["in"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"t": 0}', "'objects' is missing"),
        ('{"t": 0, "objects": [{"box": [1, 2, 3]}]}', "four numbers"),
        ('{"t": 0, "objects": [{"id": 1, "box": [5, 5, 1, 9]}]}', "ends before it begins"),
        (
            '{"t": 0, "objects": [{"id": 1, "box": [0, 0, 1, 1], "class": "person"}]}',
            "class must be a number, got 'person'",
        ),
        ('{"t": 0, "objects": [{"id": 1, "box": [0, 0, 1, 1]}, {"id": 1, "box": [0, 0, 1, 1]}]}', "occurs twice"),
        ("not json", "line 2"),
        ("[]", "line 2"),
        ('{"t": NaN, "objects": []}', "t is nan"),
    ],
)
def test_a_line_that_is_no_frame_is_named(tmp_path, line, message):
    path = write(tmp_path / "a.jsonl", '{"t": 0, "objects": []}', line)
    with pytest.raises(InvalidInputError, match=message) as refused:
        list(read_jsonl(path, with_ids=True))
    assert "line 2" in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("row", "message"), [("1,2,3", "at least 6"), ("0,1,0,0,5,5,1", "frame number"), ("1,1,0,0,-5,5,1", "negative")]
)
def test_a_row_of_mot_text_that_is_wrong_is_named(tmp_path, row, message):
    with pytest.raises(InvalidInputError, match=message):
        list(read_mot(write(tmp_path / "a.txt", row), fps=10, with_ids=False))


def test_frames_of_mot_text_without_a_row_are_empty_frames(tmp_path):
    frames = list(read_mot(write(tmp_path / "a.txt", "1,1,0,0,5,5,1", "4,1,0,0,5,5,1"), fps=10, with_ids=True))
    assert [len(frame.detections) for frame in frames] == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["gate"], "name is missing"),
        ([" :0,0,1,1"], "name is missing"),
        (["gate:1,2,3"], "pairs"),
        (["gate:0.1,0.1,0.1,0.1"], "same point"),
        (["gate:0.1,0.1,1.5,0.1"], "outside the picture"),
        (["gate:a,b,c,d"], "not a list of numbers"),
        (["gate:0,0,1,1", "gate:0,1,1,0"], "twice"),
    ],
)
def test_an_option_that_cannot_be_counted_with_is_refused_with_a_hint(lines, message):
    with pytest.raises(InvalidInputError, match=message) as refused:
        parse_spec(lines)
    assert refused.value.hint


def test_options_are_read_as_they_are_written():
    spec = parse_spec(["a:b:0,0,640,360,1280,0"], ["z:0,0,1280,0,1280,720,0,0"], pixels_of=(1280, 720))
    assert spec.lines[0].id == "a:b"
    assert spec.lines[0].points == ((0, 0), (0.5, 0.5), (1, 0))
    assert len(spec.zones[0].polygon) == 3
    assert parse_size("1280x720") == (1280, 720)
    assert read_anchor("centre") == (0.5, 0.5)
    with pytest.raises(InvalidInputError):
        parse_size("1280")


def test_a_file_that_is_not_there_is_an_error_with_a_hint(tmp_path):
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "no.jsonl"), "--size", "10x10", "--line", "g:0,0,1,1"])
    assert result.exit_code != 0
    assert "there is no file" in str(result.exception)
    result = CliRunner().invoke(app, ["replay", str(tmp_path), "--size", "10x10", "--line", "g:0,0,1,1"])
    assert "is a folder, not a file" in str(result.exception)


def _variants(case):
    """The case as it is, and mirrored, turned round, doubled and at another time: (name, map of x, of y, scale, t)."""
    width, height = case["size"]
    yield "plain", (lambda x: x), (lambda y: y), 1, 0.0, False, False
    yield "reversed", (lambda x: x), (lambda y: y), 1, 0.0, True, True
    yield "left for right", (lambda x: width - x), (lambda y: y), 1, 0.0, False, True
    yield "upside down", (lambda x: x), (lambda y: height - y), 1, 0.0, False, True
    yield "twice the size", (lambda x: 2 * x), (lambda y: 2 * y), 2, 0.0, False, False
    yield "another time", (lambda x: x), (lambda y: y), 1, 1e9, False, False


def _transformed(frame, x_of, y_of, scale, later):
    objects = []
    for item in frame["objects"]:
        x1, y1, x2, y2 = item["box"]
        (left, right), feet, tall = sorted((x_of(x1), x_of(x2))), y_of(y2), (y2 - y1) * scale
        objects.append({**item, "box": [left, feet - tall, right, feet]})
    return {"t": frame["t"] + later, "objects": objects}


def test_all_conformance_cases_are_counted_right_in_every_variant(shared_data, tmp_path):
    for case in json.loads((shared_data / CASES).read_text()):
        frames = [json.loads(row) for row in (shared_data / "conformance" / f"{case['name']}.jsonl").open()]
        for name, x_of, y_of, scale, later, turned, swapped in _variants(case):
            path = write(
                tmp_path / "case.jsonl", *(json.dumps(_transformed(f, x_of, y_of, scale, later)) for f in frames)
            )
            lines = []
            for line in case["lines"]:
                a, b = (line["b"], line["a"]) if turned else (line["a"], line["b"])
                lines.append(f"{line['name']}:{x_of(a[0])},{y_of(a[1])},{x_of(b[0])},{y_of(b[1])}")
            size_wh = (case["size"][0] * scale, case["size"][1] * scale)
            counting = parse_spec(lines, pixels_of=size_wh)
            found = count_recording(read_jsonl(path, with_ids=True), counting, size_wh, tracked=True, run="case")
            for line, truth in case["expect"].items():
                expected = (truth["out"], truth["in"]) if swapped else (truth["in"], truth["out"])
                got = (found["lines"][line]["in"], found["lines"][line]["out"])
                assert got == expected, (case["name"], name, line)
