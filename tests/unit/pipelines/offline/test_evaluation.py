"""The metrics against cases worked out by hand and against an independent implementation; what MOT text is refused."""

import json
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.mot import NOBODY, boxes, combined, truth, walk
from tests.fixtures.examples import examples
from tests.fixtures.repository import REPOSITORY

from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.files.output_files import OutputFiles
from countline_pipelines.evaluation.comparison import compare
from countline_pipelines.evaluation.metrics import measure
from countline_pipelines.evaluation.mot import (
    Boxes,
    MotTruth,
    as_probabilities,
    read_detections,
    read_result,
    read_truth,
    write_result,
)

ROOT = REPOSITORY
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
ORACLE = ROOT / "tests" / "fixtures" / "counting" / "evaluation_oracle.py"


def measured(there, found):
    return measure(compare(truth(*there), boxes(*found))).as_dict()


def test_a_perfect_run_has_one_in_everything():
    rows = walk(1, range(1, 11)) + walk(2, range(3, 8), 100)
    numbers = measured(rows, rows)
    expected = {"HOTA": 1, "DetA": 1, "AssA": 1, "IDF1": 1, "MOTA": 1, "FP": 0, "FN": 0, "IDSW": 0}
    assert numbers == expected


def test_a_track_that_breaks_in_the_middle_keeps_its_detections_and_half_of_its_identity():
    """Ten frames, ids 7 and 8 for five each: IDTP 5 of 10; each true positive is associated with 5 of 10 frames."""
    found = walk(7, range(1, 6)) + walk(8, range(6, 11))
    numbers = measured(walk(1, range(1, 11)), found)
    assert numbers["IDSW"] == 1
    assert numbers["MOTA"] == pytest.approx(0.9)
    assert numbers["IDF1"] == pytest.approx(0.5)
    assert (numbers["DetA"], numbers["AssA"]) == (1, pytest.approx(0.5))
    assert numbers["HOTA"] == pytest.approx(np.sqrt(0.5), abs=1e-5)


def test_what_is_missed_and_what_is_false_count_in_their_own_columns():
    """Of ten frames three are missed, and a second track is on nobody for four."""
    numbers = measured(walk(1, range(1, 11)), walk(5, range(1, 8)) + walk(6, range(1, 5), 500))
    assert (numbers["FN"], numbers["FP"], numbers["IDSW"]) == (3, 4, 0)
    assert numbers["MOTA"] == pytest.approx(1 - 7 / 10)
    assert numbers["IDF1"] == pytest.approx(7 / (7 + (4 + 3) / 2), abs=1e-5)
    assert numbers["DetA"] == pytest.approx(7 / 14)
    assert numbers["AssA"] == pytest.approx(7 / 10)


def test_overlap_decides_at_which_levels_of_hota_a_box_is_on_its_object():
    """A shift of 2 pixels leaves 8 of 12 in common: thirteen levels from 0.05 to 0.65 hold, the six above do not."""
    numbers = measured(walk(1, range(1, 11)), walk(1, range(1, 11), 2))
    assert numbers["DetA"] == pytest.approx(13 / 19, abs=1e-5)
    assert numbers["MOTA"] == 1


def test_a_match_goes_on_while_it_overlaps_enough_even_where_another_overlaps_more():
    there = [(1, 1, 0), (2, 1, 0)]
    found = [(1, 7, 0), (2, 7, 3), (2, 8, 0)]
    numbers = measured(there, found)
    assert (numbers["IDSW"], numbers["FP"]) == (0, 1)


def test_an_object_that_comes_back_under_another_id_after_a_gap_has_switched():
    numbers = measured(walk(1, range(1, 11)), walk(7, range(1, 4)) + walk(8, range(8, 11)))
    assert (numbers["IDSW"], numbers["FN"]) == (1, 4)


def test_a_run_that_found_nothing_is_measured_all_the_same():
    numbers = measure(compare(truth(*walk(1, range(1, 11))), NOBODY)).as_dict()
    assert (numbers["HOTA"], numbers["IDF1"], numbers["MOTA"], numbers["FN"]) == (0, 0, 0, 10)


def test_sequences_together_are_measured_as_one_longer_sequence():
    first, second = walk(1, range(1, 11)), walk(2, range(31, 36), 50)
    found_first, found_second = walk(7, range(1, 9)), walk(8, range(31, 34), 50) + walk(9, range(34, 36), 50)
    apart = combined(
        [
            measure(compare(truth(*first), boxes(*found_first))),
            measure(compare(truth(*second), boxes(*found_second))),
        ]
    )
    assert apart.as_dict() == measured(first + second, found_first + found_second)


def scene(seed):
    """People who wander, seen with noise and gaps, by tracks that break and swap."""
    rng = np.random.default_rng(seed)
    there, found = [], []
    labels = {}
    x, y = rng.uniform(0, 60, 5), rng.uniform(0, 40, 5)
    for frame in range(1, 31):
        x, y = x + rng.normal(0, 3, 5), y + rng.normal(0, 2, 5)
        for who in range(5):
            if not 3 * who < frame < 30 - who:
                continue
            there.append((frame, who, x[who], y[who], x[who] + 12, y[who] + 20))
            if rng.random() < 0.1:
                labels[who] = int(rng.integers(100))
            if rng.random() < 0.85:
                off = rng.normal(0, 2, 4)
                found.append((frame, labels.get(who, who + 200), *(np.array(there[-1][2:]) + off)))
        if rng.random() < 0.3:
            found.append((frame, 900 + frame // 10, 100, 100, 110, 120))
    return MotTruth(_table(there), NOBODY, "MOT15"), _table(list({row[:2]: row for row in found}.values()))


def _table(rows):
    table = np.array(rows, dtype=float).reshape(-1, 6)
    return Boxes(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:], np.ones(len(table)))


def from_oracle(comparisons, folder):
    """The metrics of all comparisons as the independent implementation has them."""
    if not PEERS_PYTHON.exists():
        pytest.skip("the independent implementation is not installed (make bench-peers installs it)")
    runs = [
        [
            {"truth": f.truth.tolist(), "tracked": f.tracked.tolist(), "overlap": f.overlap.tolist()}
            for f in comparison.frames
        ]
        for comparison in comparisons
    ]
    path = folder / "frames.json"
    path.write_text(json.dumps(runs))
    command = [str(PEERS_PYTHON), str(ORACLE), str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)


def test_random_scenes_have_the_numbers_that_an_independent_implementation_has(tmp_path):
    comparisons = [compare(*scene(seed)) for seed in range(40)]
    for comparison, expected in zip(comparisons, from_oracle(comparisons, tmp_path), strict=True):
        assert measure(comparison).as_dict() == pytest.approx(expected, abs=1e-4)


def test_public_sequences_have_the_numbers_that_an_independent_implementation_has(shared_data, tmp_path):
    """The public detections, each taken for a track of its frame and column: many ids and many false boxes."""
    comparisons = []
    for folder in sorted((shared_data / "mot15").iterdir()):
        found = read_detections(folder / "det.txt")
        places = (found.xyxy[:, 0] // 150 * 100 + found.score * 10).astype(np.int64)
        _, single = np.unique(np.column_stack([found.frame, places]), axis=0, return_index=True)
        tracked = Boxes(found.frame, places, found.xyxy, found.score)
        keep = np.zeros(len(found), dtype=bool)
        keep[single] = True
        comparisons.append(compare(read_truth(folder / "gt.txt"), tracked.where(keep)))
    for comparison, expected in zip(comparisons, from_oracle(comparisons, tmp_path), strict=True):
        assert measure(comparison).as_dict() == pytest.approx(expected, abs=1e-4)


@given(st.integers(0, 2**32 - 1))
@examples(7)
def test_names_of_tracks_and_the_order_of_rows_change_nothing(seed):
    there, found = scene(seed % 1000)
    rng = np.random.default_rng(seed)
    names = rng.permutation(2000)
    order = np.lexsort([rng.random(len(found)), found.frame])
    other = Boxes(found.frame[order], names[found.ids[order]], found.xyxy[order], found.score[order])
    assert measure(compare(there, found)).as_dict() == measure(compare(there, other)).as_dict()


# --- files ---------------------------------------------------------------------------------------------------------


def write(folder, *lines):
    path = folder / "file.txt"
    path.write_text("\n".join(lines))
    return path


def test_mot15_truth_passes_over_what_its_seventh_column_says(tmp_path):
    """In MOT15 the eighth column is a place in the world, and no class."""
    path = write(tmp_path, "1,1,0,0,10,10,1,-4.1,2,0", "1,2,0,0,10,10,0,7,2,0", "2,1,0,0,10,10,1,2,2,0")
    found = read_truth(path)
    assert found.convention == "MOT15"
    assert found.objects.ids.tolist() == [1, 1]
    assert len(found.indifferent) == 0


def test_mot17_truth_has_pedestrians_and_what_may_be_found(tmp_path):
    path = write(
        tmp_path,
        "1,1,0,0,10,10,1,1,1",
        "1,2,50,0,10,10,0,8,1",
        "1,3,100,0,10,10,0,3,1",
        "1,4,150,0,10,10,0,1,1",
    )
    found = read_truth(path)
    assert found.objects.ids.tolist() == [1]
    assert found.indifferent.ids.tolist() == [2]
    tracked = boxes((1, 1, 0), (1, 2, 50), (1, 3, 100))
    numbers = measure(compare(found, tracked)).as_dict()
    assert (numbers["FP"], numbers["FN"]) == (1, 0), "the box on the car is false, the one on the distractor is not"


def test_scores_that_are_no_probabilities_are_stretched_and_others_are_left_alone():
    assert as_probabilities(np.array([0.2, 0.9])).tolist() == [0.2, 0.9]
    assert as_probabilities(np.array([-1.0, 49.0, 99.0])).tolist() == [0.05, 0.5, 0.99]


def test_a_result_that_is_written_is_read_again(tmp_path):
    rows = boxes((1, 3, 0.25), (2, 3, 5), (2, 4, 90))
    with OutputFiles() as outputs:
        write_result(outputs.open("--tracks-out", tmp_path / "out.txt"), rows)
    again = read_result(tmp_path / "out.txt")
    assert again.ids.tolist() == [3, 3, 4]
    assert np.allclose(again.xyxy, rows.xyxy)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["hello"], "line 1.*not MOT text"),
        (["1,1,0,0,10"], "line 1: 5 values"),
        (["1,1,0,0,10,10,1", "2,1,0,0,10,10"], "line 2: 6 values, the first line has 7"),
        (["0,1,0,0,10,10,1"], "0 is no frame number"),
        (["1,1,0,0,10,0,1"], "a box of 10 x 0"),
        (["1,1,0,0,10,nan,1"], "not finite"),
        (["1,1.5,0,0,10,10,1"], "no whole numbers"),
        (["1,1,0,0,10,10,1", "1,1,20,0,10,10,1"], "id 1 is given twice in frame 1"),
        ([""], "is empty"),
        (["1,-1,0,0,10,10,1", "1,-1,20,0,10,10,1"], "no box has an id"),
    ],
)
def test_what_is_no_result_is_refused_with_its_place(tmp_path, lines, words):
    with pytest.raises(InvalidInputError, match=words) as refused:
        read_result(write(tmp_path, *lines))
    assert refused.value.hint


def test_truth_without_an_object_a_missing_file_and_a_picture_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="no row is an object"):
        read_truth(write(tmp_path, "1,1,0,0,10,10,0,-1,-1,-1"))
    with pytest.raises(NotFoundError):
        read_truth(tmp_path / "nowhere.txt")
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InvalidInputError, match="is not UTF-8 text: line 1"):
        read_truth(tmp_path / "picture.txt")


def test_runs_of_other_sequences_are_refused():
    there = truth(*walk(1, range(1, 11)))
    with pytest.raises(InvalidInputError, match="frames do not match"):
        compare(there, boxes((50, 1, 0)))
    with pytest.raises(InvalidInputError, match="the sequence has 10"):
        compare(there, boxes((11, 1, 0)), 10)
    assert len(compare(there, boxes((10, 1, 0), (12, 1, 0))).frames) == 12
