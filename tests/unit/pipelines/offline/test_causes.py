"""The causes of miscounts, one built scene for each: what was done to the boxes is what `evaluate` names."""

import json

import av
import numpy as np
import pytest
from tests.fixtures.counting.mot import NOBODY
from typer.testing import CliRunner

from countline_common.cli.app import app
from countline_common.errors import CountlineError
from countline_counting.events import Crossing, Direction
from countline_counting.spec import CountingSpec, Line
from countline_pipelines.evaluation.causes import CAUSES, Cause
from countline_pipelines.evaluation.mot import Boxes, MotTruth
from countline_pipelines.evaluation.results import Given, evaluate_crossings, evaluate_tracks
from countline_pipelines.evaluation.run import SequenceInfo

FPS, FRAMES = 10.0, 80
SEQUENCE = SequenceInfo((640, 480), FPS, FRAMES)
SPEC = CountingSpec(lines=(Line("middle", ((0.5, 0.0), (0.5, 1.0))),))
"""At x = 320. To the right is out, to the left is in."""


def rows(number, start, step, frames=range(1, FRAMES + 1), y=300.0, jitter=()):
    """Rows frame, id, x, y of the feet of a person 40 wide and 100 high."""
    offsets = dict(jitter)
    return [(frame, number, start + step * frame + offsets.get(frame, 0.0), y) for frame in frames]


def as_boxes(table):
    table = np.array(sorted(table), dtype=float).reshape(-1, 4)
    x, y = table[:, 2], table[:, 3]
    xyxy = np.column_stack([x - 20, y - 100, x + 20, y])
    return Boxes(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), xyxy, np.full(len(table), 0.9))


def faults(true, found, *, tracked=True):
    there = MotTruth(as_boxes(true), NOBODY, "MOT15")
    return evaluate_tracks(Given(as_boxes(found), tracked, SEQUENCE, SPEC), there).faults


def causes(true, found, **how):
    return [(fault.missed, fault.cause) for fault in faults(true, found, **how)]


WALK = rows(1, 20, 6)
"""Crosses at frame 50."""


def without(table, first, last):
    return [row for row in table if not first <= row[0] <= last]


def test_a_run_that_is_right_has_no_fault():
    assert causes(WALK, WALK) == []


def test_not_detected_beyond_the_line():
    assert causes(WALK, without(WALK, 49, FRAMES)) == [(True, Cause.NOT_DETECTED)]


def test_not_detected_on_the_way_for_longer_than_an_object_lives():
    slow = rows(1, 120, 4)  # crosses at frame 50
    assert causes(slow, without(slow, 32, 70)) == [(True, Cause.NOT_DETECTED)]


def test_detected_on_both_sides_and_not_tracked():
    """A detection below the tracker's lowest score is a detection all the same."""
    found = as_boxes(WALK)
    found.score[found.frame > 49] = 0.05
    there = MotTruth(as_boxes(WALK), NOBODY, "MOT15")
    evaluation = evaluate_tracks(Given(found, False, SEQUENCE, SPEC, keep_scores=True), there)
    assert [(fault.missed, fault.cause) for fault in evaluation.faults] == [(True, Cause.NOT_TRACKED)]


def test_two_people_who_exchange_identities_before_the_line():
    """One turns back at the line, the other crosses it from the far side; each track goes on with the other person."""
    ways = [min(20 + 6 * frame, 596 - 6 * frame) for frame in range(1, FRAMES + 1)]
    turning = [(frame, 1, x, 300.0) for frame, x in enumerate(ways, 1)]
    other = [(frame, 2, 640 - x, 300.0) for frame, x in enumerate(ways, 1)]
    exchanged = [(f, n if f < 48 else 3 - n, x, y) for f, n, x, y in turning + other]
    found = faults(turning + other, exchanged)
    assert len(found) == 2
    assert {(fault.missed, fault.cause) for fault in found} == {(False, Cause.IDENTITY_CHANGED)}


def test_people_who_pass_each_other_and_exchange_identities_are_missed_for_it():
    passing = WALK + rows(2, 620, -6)
    exchanged = [(f, n if f < 50 else 3 - n, x, y) for f, n, x, y in passing]
    assert causes(passing, exchanged) == [(True, Cause.IDENTITY_CHANGED)] * 2


def test_a_fragment_that_is_not_linked():
    """The box is 1.7 times as high after a gap: healing takes it for another object."""
    there, found = as_boxes(WALK), as_boxes([(f, 1 if f < 46 else 2, x, y) for f, _, x, y in without(WALK, 46, 53)])
    there.xyxy[there.frame > 53, 1] -= 70
    found.xyxy[found.ids == 2, 1] -= 70
    evaluation = evaluate_tracks(Given(found, True, SEQUENCE, SPEC), MotTruth(there, NOBODY, "MOT15"))
    assert [(fault.missed, fault.cause) for fault in evaluation.faults] == [(True, Cause.NOT_LINKED)]


NEAR = rows(1, 22, 6)
"""Crosses at frame 50, and is 0.04 heights from the line in the frame before."""


def test_an_origin_that_was_never_clear():
    """So near the line, motion shows no origin either."""
    assert causes(NEAR, without(NEAR, 1, 48)) == [(True, Cause.ORIGIN_NEVER_CLEAR)]


def test_boxes_that_jump_over_the_line_are_noise():
    standing = rows(1, 300, 0)
    jumping = rows(1, 300, 0, jitter=[(frame, 42) for frame in range(30, 60)])
    assert set(causes(standing, jumping)) == {(False, Cause.BOX_NOISE)}


def test_boxes_that_stay_behind_are_noise():
    """The person is beyond the line, and the boxes never get clear of it."""
    behind = [(f, n, min(x, 338.0), y) for f, n, x, y in rows(1, 20, 6, range(1, 56))]
    assert causes(rows(1, 20, 6, range(1, 56)), behind) == [(True, Cause.BOX_NOISE)]


def test_a_crossing_that_is_counted_at_another_time():
    """The person stands beyond the line; the boxes follow two seconds later."""
    true = [(f, 1, min(20 + 6 * f, 350.0), 300.0) for f in range(1, FRAMES + 1)]
    late = [(f, 1, x if f < 50 or f > 69 else 318.0, y) for f, _, x, y in true]
    assert causes(true, late) == [(True, Cause.TIMING), (False, Cause.TIMING)]


def test_a_track_on_no_object():
    assert causes(rows(1, 40, 0), rows(1, 40, 0) + rows(9, 20, 6, y=450.0)) == [(False, Cause.FALSE_BOXES)]


# --- where only the crossings are known ----------------------------------------------------------------------------


def crossing(t, direction=Direction.OUT):
    return Crossing("", "middle", 1, 1, 0, t, t, 0, direction, 0, 1.0, stitched=False)


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (without(NEAR, 1, 48), Cause.ORIGIN_NEVER_CLEAR),
        ([(f, n, min(x, 338.0), y) for f, n, x, y in WALK], Cause.BOX_NOISE),
        (rows(1, 40, 0), Cause.LOST),
    ],
)
def test_causes_that_crossings_alone_tell_apart(found, cause):
    given = Given(as_boxes(found), True, SEQUENCE, SPEC)
    assert [fault.cause for fault in evaluate_crossings(given, [crossing(4.9)]).faults] == [cause]


def test_crossings_alone_show_a_wrong_time_and_a_false_count():
    given = Given(as_boxes(WALK), True, SEQUENCE, SPEC)
    found = [(fault.missed, fault.cause) for fault in evaluate_crossings(given, [crossing(2.5)]).faults]
    assert found == [(True, Cause.TIMING), (False, Cause.TIMING)]
    assert [(f.missed, f.cause) for f in evaluate_crossings(given, []).faults] == [(False, Cause.BOX_NOISE)]


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """Truth, and a result that ends before the line."""
    for name, table in (("gt.txt", WALK), ("result.txt", without(WALK, 49, FRAMES))):
        lines = [f"{f},{n},{x - 20},{y - 100},40,100,1,-1,-1,-1\n" for f, n, x, y in table]
        (tmp_path / name).write_text("".join(lines))
    (tmp_path / "truth.json").write_text('{"events": [{"t": 4.9, "line": "middle", "direction": "out"}]}')
    return tmp_path


def run(files, *options):
    usual = ("--size", "640x480", "--fps", "10", "--frames", FRAMES, "--line", "middle:0.5,0,0.5,1")
    done = CliRunner().invoke(
        app, ["evaluate", str(files / "result.txt"), *map(str, (*options, *usual))], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done


def test_every_cause_has_a_meaning():
    assert set(CAUSES) == set(Cause)


def test_the_command_prints_the_causes(files):
    printed = run(files, "--truth", files / "gt.txt").stdout
    assert "not_detected" in printed
    answer = json.loads(run(files, "--truth", files / "gt.txt", "--json").stdout)["faults"]
    assert answer["causes"]["not_detected"]["missed"] == 1
    (fault,) = answer["list"]
    assert (fault["kind"], fault["line"], fault["truth_id"]) == ("missed", "middle", 1)


def test_the_command_takes_true_crossings_without_tracks(files):
    answer = json.loads(run(files, "--crossings", files / "truth.json", "--json").stdout)
    assert "metrics" not in answer
    assert [fault["cause"] for fault in answer["faults"]["list"]] == ["lost"]


def test_the_film_shows_four_seconds_around_a_fault(files):
    run(files, "--truth", files / "gt.txt", "--annotate", files / "faults.mp4")
    with av.open(str(files / "faults.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 41
    assert pictures[0].shape == (480, 640, 3)
    reddest = (pictures[20].astype(int)[:, :, 0] - pictures[20].astype(int)[:, :, 2]).max()
    assert reddest > 100, "the box of the missed person is red"


def test_a_run_without_a_fault_gives_no_film(files):
    (files / "result.txt").write_text((files / "gt.txt").read_text())
    done = run(files, "--truth", files / "gt.txt", "--annotate", files / "faults.mp4")
    assert "no video was written" in done.stderr
    assert not (files / "faults.mp4").exists()


def test_a_film_needs_a_line(files):
    options = ("--truth", files / "gt.txt", "--annotate", files / "x.mp4", "--size", "640x480", "--fps", "10")
    with pytest.raises(CountlineError, match="there is no line"):
        CliRunner().invoke(app, ["evaluate", str(files / "result.txt"), *map(str, options)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "either as tracks or as crossings"),
        (("--truth", "gt.txt", "--crossings", "truth.json"), "either as tracks or as crossings"),
        (("--crossings", "gt.txt"), "holds no true crossings"),
        (("--crossings", "other.json"), "names the line door"),
        (("--crossings", "truth.json", "--picture", "x.png"), "--picture needs true tracks"),
        (("--truth", "gt.txt", "--annotate", "x.txt"), "this format of video"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_its_reason(files, options, words):
    (files / "other.json").write_text('{"events": [{"t": 4.9, "line": "door", "direction": "out"}]}')
    with pytest.raises(CountlineError, match=words) as error:
        run(files, *(files / option if "." in option else option for option in options))
    assert error.value.hint
