"""Scores on any scale give the same counts: the floor and the top of a recording's scores are measured."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.examples import examples
from typer.testing import CliRunner

from countline_common.cli.app import app
from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing
from countline_counting.frames import DetectionFrame
from countline_counting.identity import Identity
from countline_counting.spec import CountingSpec, Line
from countline_counting.tracking.scale import (
    CUT_SCORE,
    FLOOR_SCORE,
    LEAST_BOXES,
    TOP_SCORE,
    UNCHANGED,
    scale_of,
    scale_of_recording,
)
from countline_pipelines.evaluation.mot import read_detections
from countline_pipelines.evaluation.seqinfo import read_seqinfo

SIZE_WH = (1280, 720)
LINES = CountingSpec(
    lines=(
        Line("level", ((0.15, 0.55), (0.85, 0.55))),
        Line("upright", ((0.5, 0.95), (0.5, 0.2))),
        Line("diagonal", ((0.25, 0.9), (0.7, 0.35))),
    )
)


def frame(t, rows, size_wh=SIZE_WH):
    return DetectionFrame("c", round(t * 100), t, size_wh, np.array(rows, dtype=np.float32).reshape(-1, 6))


def scene(seed, fps, walkers=8):
    """Walkers across the picture with varying scores, some seldom detected, and weak boxes in places at random."""
    rng = np.random.default_rng(seed)
    start, end = (rng.uniform((100, 150), (1180, 700), (walkers, 2)) for _ in range(2))
    height, quality = rng.uniform(60, 160, walkers), rng.uniform(0.4, 0.9, walkers)
    for i in range(round(6 * fps)):
        rows = []
        for k in range(walkers):
            if rng.random() < 0.9:
                x, y = start[k] + (end[k] - start[k]) * i / (6 * fps) + rng.normal(0, 0.01 * height[k], 2)
                score = np.clip(quality[k] + rng.normal(0, 0.12), 0.05, 0.98)
                rows.append((x - height[k] / 4, y - height[k], x + height[k] / 4, y, score, 0))
        for x, y in rng.uniform((100, 150), (1180, 700), (rng.poisson(1.5), 2)):
            rows.append((x - 20, y - 80, x + 20, y, rng.uniform(0.03, 0.3), 0))
        yield frame(i / fps, rows)


def counts(frames, spec=LINES):
    frames = list(frames)
    scale, counter = scale_of_recording(frames), CameraCounter(Identity("c", 0, "r"), spec)
    events = [event for each in frames for event in counter.update(scale.applied(each)).events]
    events += counter.flush()
    return [(event.line_id, event.direction, event.t) for event in events if isinstance(event, Crossing)]


def on_scale(frames, offset, factor):
    for each in frames:
        detections = each.detections.copy()
        detections[:, 4] = offset + factor * detections[:, 4]
        yield DetectionFrame(each.camera_id, each.index, each.t, each.size_wh, detections)


@given(st.integers(0, 2**32 - 1), st.sampled_from([5, 10, 15]), st.floats(-5, 50), st.floats(0.05, 100))
@examples(3)
def test_scores_on_another_scale_give_the_same_crossings(seed, fps, offset, factor):
    frames = list(scene(seed, fps))
    plain = counts(frames)
    assert [each[:2] for each in counts(on_scale(frames, offset, factor))] == [each[:2] for each in plain]


@pytest.mark.parametrize(("offset", "factor"), [(0.0, 0.7), (0.3, 0.7), (0.0, 0.2)])
@pytest.mark.parametrize("name", ["mot15/TUD-Stadtmitte", "mot/TUD-Stadtmitte-frcnn"])
def test_real_detections_on_another_scale_give_the_same_crossings(shared_data, name, offset, factor):
    folder = shared_data / name
    detections, sequence = read_detections(folder / "det.txt"), read_seqinfo(folder / "seqinfo.ini")
    frames = [
        frame(
            sequence.t(i),
            np.column_stack([detections.xyxy[rows], detections.score[rows], np.zeros(len(detections.score[rows]))]),
            sequence.size_wh,
        )
        for i, rows in enumerate(detections.rows_of_frames(sequence.frames), 1)
    ]
    plain = counts(frames)
    assert plain
    found = counts(on_scale(frames, offset, factor))
    assert [each[:2] for each in found] == [each[:2] for each in plain]
    assert [each[2] for each in found] == pytest.approx([each[2] for each in plain], abs=1e-6)


def test_walkers_are_counted_whatever_the_scale_of_their_scores():
    """Without a scale, the first form counts nothing: no score reaches the threshold of a track."""
    frames = list(scene(5, 10))
    assert counts(on_scale(frames, 0.0, 0.1))
    counter = CameraCounter(Identity("c", 0, "r"), LINES)
    assert not [event for each in on_scale(frames, 0.0, 0.1) for event in counter.update(each).events]


def persistent(scores, share=1.0):
    persists = np.arange(len(scores)) % 100 < 100 * share
    return scale_of(np.array(scores), persists)


def test_the_floor_and_the_top_become_those_of_the_settings():
    scores = np.concatenate([np.linspace(0.3, 0.5, 100), np.linspace(0.5, 0.9, 100)])
    found = scale_of(scores, scores > 0.45)
    assert found.score(np.array([0.3, 0.6, 0.9])).tolist() == pytest.approx(
        [FLOOR_SCORE, (FLOOR_SCORE + TOP_SCORE) / 2, TOP_SCORE]
    )
    assert found.score(np.array([0.1, 1.0])).tolist() == [FLOOR_SCORE, TOP_SCORE]


def test_a_list_without_weak_boxes_gets_no_weak_scores():
    found = persistent(np.linspace(0.8, 0.95, 200))
    assert found.score(np.array([0.8, 0.95])).tolist() == pytest.approx([CUT_SCORE, TOP_SCORE])


def test_a_box_that_does_not_persist_is_no_measure_of_the_top():
    scores = np.concatenate([np.linspace(0.1, 0.5, 200), [0.99]])
    assert scale_of(scores, (scores > 0.2) & (scores < 0.6)).top == pytest.approx(0.5)


@pytest.mark.parametrize(
    "scores", [[], [0.9] * 500, np.linspace(0.1, 0.3, LEAST_BOXES - 1)], ids=["none", "equal scores", "few boxes"]
)
def test_scores_whose_scale_cannot_be_known_stay_as_they_are(scores):
    found = persistent(np.array(scores))
    assert found == UNCHANGED
    assert found.score(np.array([-1.0, 0.2, 7.0])).tolist() == [-1.0, 0.2, 7.0]


@pytest.mark.parametrize("step_s", [0.04, 0.1, 0.2, 0.5])
def test_a_box_persists_if_the_frames_a_moment_before_and_after_have_it(step_s):
    flash = [
        frame(step_s * i, [(50, 50, 90, 130, 0.5, 0), *([(500, 50, 540, 130, 0.9, 0)] * (i % 40 == 20))])
        for i in range(200)
    ]
    rows = [
        frame(each.t, np.vstack([each.detections, [700, 50, 740, 130, 0.1 + 0.1 * (i % 2), 0]]))
        for i, each in enumerate(flash)
    ]
    assert scale_of_recording(rows).top == pytest.approx(0.5)


def test_nothing_persists_over_a_gap_and_where_time_goes_back():
    apart = [frame(2.0 * i, [(50, 50, 90, 130, 0.3 + 0.001 * i, 0)]) for i in range(200)]
    back = [frame(10.0 - 0.1 * i, [(50, 50, 90, 130, 0.3 + 0.001 * i, 0)]) for i in range(100)]
    assert scale_of_recording(apart) == scale_of_recording(back) == UNCHANGED


def test_boxes_that_are_none_do_not_take_part():
    good = [(50, 50, 90, 130, 0.5, 0), (200, 50, 240, 130, 0.2, 0)]
    bad = [(np.nan, 0, 1, 1, 0.9, 0), (5, 5, 5, 9, 0.01, 0), (50, 50, 90, 130, np.inf, 0)]
    with_bad, without = ([frame(0.1 * i, rows) for i in range(60)] for rows in (good + bad, good))
    assert scale_of_recording(with_bad) == scale_of_recording(without) != UNCHANGED


def test_replay_measures_the_scale_of_its_file(tmp_path):
    """The same file, with scores of a tenth, through the command line. As they are, they are too low to count."""
    found = []
    for name, factor, kept in (("plain", 1.0, []), ("low", 0.1, []), ("kept", 0.1, ["--keep-scores"])):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(
            "\n".join(
                json.dumps(
                    {
                        "t": each.t,
                        "objects": [{"box": row[:4], "score": row[4] * factor} for row in each.detections.tolist()],
                    }
                )
                for each in scene(5, 10)
            ),
            encoding="utf-8",
        )
        line = ["--line", "level:0.15,0.55,0.85,0.55"]
        result = CliRunner().invoke(app, ["replay", str(path), "--size", "1280x720", *line, *kept, "--json"])
        assert result.exit_code == 0, result.output
        found.append(json.loads(result.stdout)["lines"])
    assert found[0] == found[1] != found[2]
    assert sum(found[0]["level"][way] for way in ("in", "out")) > 0
