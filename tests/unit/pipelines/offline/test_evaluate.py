"""`countline evaluate` as a whole: counts against truth, the worst cases, the picture, and what it refuses."""

import json
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from tests.fixtures.counting.mot import boxes, truth, walk
from typer.testing import CliRunner

from countline_common.cli.app import app
from countline_counting.spec import CountingSpec, Line
from countline_pipelines.evaluation.comparison import compare
from countline_pipelines.evaluation.counts import count_errors
from countline_pipelines.evaluation.mot import Boxes
from countline_pipelines.evaluation.run import SequenceInfo, count_each, count_tracks
from countline_pipelines.evaluation.worst import Kind, in_turn, ledger, worst_cases

SEQUENCE = SequenceInfo((640, 480), 10.0, 60)
MIDDLE = Line("middle", ((0.5, 0.1), (0.5, 0.9)))
"""From the top to the bottom: who walks to the left comes in."""
SPEC = CountingSpec(lines=(MIDDLE,))
WALKERS = ((1, 100, 9), (2, 560, -9))
"""Id, x at the start, pixels a frame."""


def people(walkers=WALKERS, frames=range(1, 61), named=None):
    """People 40 wide and 100 high who walk at y = 200; `named` gives the id of a box by person and frame."""
    rows = []
    for number, start, step in walkers:
        for frame in frames:
            name = named(number, frame) if named else number
            if name is not None:
                x = start + step * frame
                rows.append((frame, name, x - 20, 150 + 10 * (number % 7), 40, 100))
    return sorted(rows)


def as_boxes(rows):
    table = np.array(rows, dtype=float).reshape(-1, 6)
    low = table[:, 2:4]
    xyxy = np.hstack([low, low + table[:, 4:]])
    return Boxes(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), xyxy, np.full(len(table), 0.9))


def write(path, rows, score="0.9"):
    path.write_text("".join(f"{','.join(map(str, row))},{score},-1,-1,-1\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path):
    """Truth, and a result in which the second person is lost before the line."""
    there = write(tmp_path / "gt.txt", people(), "1")
    result = write(tmp_path / "result.txt", people(named=lambda n, f: None if n == 2 and f > 20 else n))
    return there, result


def run(*options, status=0):
    done = CliRunner().invoke(app, ["evaluate", *map(str, options)], catch_exceptions=status == 2)
    assert done.exit_code == status, done.output
    return done


def refused(*options):
    """The message of a refusal, as the root of the command prints it."""
    from countline_common.errors import CountlineError

    with pytest.raises(CountlineError) as error:
        CliRunner().invoke(app, ["evaluate", *map(str, options)], catch_exceptions=False)
    assert error.value.hint
    return str(error.value)


def places(folder):
    return ("--size", "640x480", "--fps", "10", "--line", "middle:0.5,0.1,0.5,0.9")


# --- counts --------------------------------------------------------------------------------------------------------


def test_a_run_that_is_the_truth_has_no_count_error():
    true = {number: each.crossings for number, each in count_each(as_boxes(people()), SEQUENCE, SPEC).items()}
    counted = count_tracks(as_boxes(people()), SEQUENCE, SPEC).crossings
    errors = count_errors(["middle"], [c for each in true.values() for c in each], counted)
    assert {number: [c.direction.value for c in each] for number, each in true.items()} == {1: ["out"], 2: ["in"]}
    assert (errors.true, errors.error, errors.f1) == (2, 0, 1)


def test_crossings_name_the_ids_that_the_file_gave():
    counted = count_tracks(as_boxes(people(((71, 100, 9), (5, 560, -9)))), SEQUENCE, SPEC).crossings
    assert sorted(crossing.track for crossing in counted) == [5, 71]


def test_a_missed_crossing_and_one_at_another_time_are_distinguished_from_a_right_total():
    """One of two is missed, and another is counted three seconds late: the total is right by luck only."""
    true = count_tracks(as_boxes(people(((1, 100, 9), (2, 40, 7)))), SEQUENCE, SPEC).crossings
    wrong = count_tracks(as_boxes(people(((1, 100, 9), (2, 40, 7)), range(1, 60))), SEQUENCE, SPEC).crossings
    late = [wrong[0], type(wrong[1])(**{name: getattr(wrong[1], name) for name in wrong[1].__slots__} | {"t": 9.0})]
    errors = count_errors(["middle"], true, late)
    assert errors.error == 0
    assert errors.f1 == pytest.approx(0.5)


def test_a_line_that_nobody_crosses_has_no_count_error_at_all():
    errors = count_errors(["middle"], [], [])
    assert errors.error is None
    assert errors.f1 is None


# --- the worst cases -----------------------------------------------------------------------------------------------


def test_every_kind_of_wrong_is_found_where_it_is():
    there = walk(1, range(1, 31)) + walk(2, range(1, 31), 200)
    found = walk(7, range(1, 11)) + walk(8, range(11, 31)) + walk(9, range(1, 6), 200) + walk(3, range(5, 12), 800)
    comparison = compare(truth(*there), boxes(*found))
    cases = worst_cases(comparison, ledger(comparison), None, 10.0)
    reported = {(case.kind, case.first, case.last, case.truth_id, case.track_id) for case in cases}
    assert reported == {
        (Kind.SWITCH, 10, 11, 1, 8),
        (Kind.MISSED, 6, 30, 2, None),
        (Kind.FALSE_TRACK, 5, 11, None, 3),
    }
    assert all(a.weight >= b.weight for a, b in pairwise(cases))


def test_no_kind_crowds_out_the_others():
    there = [row for number in range(20) for row in walk(number, range(1, 11), 100 * number)]
    found = walk(0, range(1, 6)) + walk(50, range(6, 11)) + walk(77, range(1, 9), 9000)
    comparison = compare(truth(*there), boxes(*found))
    cases = worst_cases(comparison, ledger(comparison), None, 10.0)
    assert {case.kind for case in in_turn(cases, 3)} == {Kind.SWITCH, Kind.FALSE_TRACK, Kind.MISSED}


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_prints_metrics_and_count_errors_as_json(files, tmp_path):
    there, result = files
    printed = json.loads(run("--truth", there, result, *places(tmp_path), "--json").stdout)
    assert printed["frames"] == 60
    assert printed["convention"] == "MOT15"
    assert printed["metrics"]["FN"] == 40
    assert printed["metrics"]["MOTA"] == pytest.approx(80 / 120, abs=1e-4)
    assert printed["counts"]["lines"]["middle"] == {
        "in": {"true": 1, "counted": 0, "matched": 0},
        "out": {"true": 1, "counted": 1, "matched": 1},
    }
    assert printed["counts"]["error"] == pytest.approx(0.5)
    missed = next(case for case in printed["worst"] if case["kind"] == "miscount")
    assert missed["truth_id"] == 2
    assert "middle in" in missed["words"]


def test_detections_are_tracked_and_the_tracks_can_be_evaluated_again(files, tmp_path):
    there, _ = files
    detections = write(tmp_path / "det.txt", people(named=lambda *_: -1), "0.8")
    out = tmp_path / "tracks.txt"
    first = json.loads(
        run("--truth", there, "--detections", detections, *places(tmp_path), "--tracks-out", out, "--json").stdout
    )
    again = json.loads(run("--truth", there, out, *places(tmp_path), "--json").stdout)
    assert first["metrics"]["IDSW"] == 0
    assert first["metrics"]["HOTA"] > 0.9
    assert first["counts"] == again["counts"]
    assert first["metrics"] == pytest.approx(again["metrics"], abs=1e-3)


def test_the_picture_shows_objects_the_line_and_the_worst_cases(files, tmp_path):
    there, result = files
    picture = tmp_path / "worst.png"
    done = run("--truth", there, result, *places(tmp_path), "--picture", picture)
    assert "count error 50.0 %" in done.stdout
    with Image.open(picture) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colours = {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}
    assert {(47, 111, 222), (224, 138, 0), (209, 36, 47)} <= colours, "two tracks, and what went wrong"


def test_size_and_rate_come_from_seqinfo_where_it_lies_beside_the_truth(files, tmp_path):
    there, result = files
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nname=x\nframeRate=10\nseqLength=60\nimWidth=640\nimHeight=480\n")
    printed = json.loads(run("--truth", there, result, "--line", "middle:0.5,0.1,0.5,0.9", "--json").stdout)
    assert printed["counts"]["lines"]["middle"]["out"]["matched"] == 1


def test_what_cannot_be_evaluated_is_refused_with_its_reason(files, tmp_path):
    there, result = files
    assert "missing --size and --fps" in refused("--truth", there, result)
    assert "tracks or detections" in refused("--truth", there, *places(tmp_path))
    assert "there is no file" in refused("--truth", tmp_path / "nowhere.txt", result, *places(tmp_path))
    words = write(tmp_path / "words.txt", [("no", "numbers")])
    assert "not MOT text" in refused("--truth", there, words, *places(tmp_path))
    assert "frames do not match" in refused("--truth", there, result, *places(tmp_path), "--frames", 30)
    other = write(tmp_path / "other.txt", people(frames=range(400, 420)))
    assert "frames do not match" in refused("--truth", there, other, *places(tmp_path))
    elsewhere = tmp_path / "no-such-folder" / "worst.png"
    assert "cannot write" in refused("--truth", there, result, *places(tmp_path), "--picture", elsewhere)


def test_machine_output_has_nothing_but_json_on_standard_output(files, tmp_path):
    there, result = files
    done = run("--truth", there, result, *places(tmp_path), "--picture", tmp_path / "x.png", "--json")
    assert json.loads(done.stdout)["metrics"]


@pytest.mark.parametrize("option", ["--picture", "--annotate", "--tracks-out"])
def test_a_file_that_cannot_be_written_costs_no_numbers(files, tmp_path, option):
    """`/dev/full` is found while the file is written; with `--picture` the numbers were lost."""
    there, result = files
    done = CliRunner().invoke(
        app, ["evaluate", "--truth", str(there), str(result), *places(tmp_path), option, "/dev/full"]
    )
    assert "No space left on device" in str(done.exception)
    assert "count error 50.0 %" in done.stdout


def test_replay_writes_the_tracks_that_it_counted(files, tmp_path):
    """What `replay` tracked is what `evaluate` tracks: the same detections, the same code."""
    there, _ = files
    detections = write(tmp_path / "det.txt", people(named=lambda *_: -1), "0.8")
    replayed, evaluated = tmp_path / "replayed.txt", tmp_path / "evaluated.txt"
    command = ["replay", str(detections), "--format", "mot", "--tracks-out", str(replayed), *places(tmp_path)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    run("--truth", there, "--detections", detections, *places(tmp_path), "--tracks-out", evaluated)
    assert replayed.read_text() == evaluated.read_text()
    assert replayed.read_text().count("\n") == 120
