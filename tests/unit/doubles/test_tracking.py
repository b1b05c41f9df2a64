"""The rules of the tracker's double that move counts, and the file that sets them."""

import pytest
from tests.doubles.deepstream.tracker_config import TrackerConfigError, read_config
from tests.doubles.deepstream.tracking import Settings, Stream

HEAD = "%YAML:1.0\n"
PRESENT = [(10.0 * step, 50.0, 40.0, 80.0) for step in range(20)]


def follow(
    settings: Settings, frames: list[list[tuple[float, float, float, float]]], score: float = 0.9
) -> list[list[int]]:
    """Ids that are reported frame by frame."""
    stream = Stream(settings, seed=1)
    reports = [stream.update(n, boxes, [0] * len(boxes), [score] * len(boxes)) for n, boxes in enumerate(frames)]
    return [[report.target.object_id for report in each] for each in reports]


def test_an_object_is_reported_after_its_probation():
    ids = follow(Settings(probationAge=3), [[box] for box in PRESENT[:6]])
    assert ids == [[], [], [], [0], [0], [0]]


def test_without_probation_an_object_is_reported_at_once():
    assert follow(Settings(probationAge=0), [[PRESENT[0]]]) == [[0]]


def test_an_object_keeps_its_id_over_a_gap_within_its_shadow():
    frames = [[PRESENT[0]], [PRESENT[0]], [], [], [PRESENT[0]]]
    assert follow(Settings(probationAge=0, maxShadowTrackingAge=2), frames) == [[0], [0], [], [], [0]]
    assert follow(Settings(probationAge=0, maxShadowTrackingAge=1), frames) == [[0], [0], [], [], [1]]


def test_an_object_on_probation_ends_at_its_first_miss():
    frames = [[PRESENT[0]], [], [PRESENT[0]], [PRESENT[0]], [PRESENT[0]]]
    assert follow(Settings(probationAge=2, earlyTerminationAge=1), frames)[-1] == [1]


def test_weak_detections_begin_nothing():
    assert follow(Settings(probationAge=0, minDetectorConfidence=0.5), [[PRESENT[0]]], score=0.4) == [[]]


def test_two_objects_keep_their_ids_while_they_move():
    frames = [[(5.0 * n, 0.0, 40.0, 80.0), (200.0 - 5.0 * n, 100.0, 40.0, 80.0)] for n in range(15)]
    assert follow(Settings(probationAge=0), frames) == [[0, 1]] * 15


def test_no_object_begins_on_top_of_another():
    boxes = [PRESENT[0], (2.0, 50.0, 40.0, 80.0)]
    assert follow(Settings(probationAge=0, minIouDiff4NewTarget=0.5), [boxes]) == [[0]]


def test_there_are_no_more_targets_than_the_limit():
    boxes = [(100.0 * n, 0.0, 40.0, 80.0) for n in range(5)]
    assert follow(Settings(probationAge=0, maxTargetsPerStream=3), [boxes]) == [[0, 1, 2]]


def test_a_visual_tracker_reports_an_unseen_object_for_a_while():
    stream = Stream(Settings(probationAge=0, minTrackerConfidence=0.2, confident=True, predicts=True), seed=1)
    for n, box in enumerate(PRESENT[:3]):
        stream.update(n, [box], [0], [0.9])
    alone = [stream.update(n, [], [], []) for n in range(3, 6)]
    assert [len(each) for each in alone] == [1, 1, 0]
    assert alone[0][0].detection is None
    assert alone[0][0].box[0] == pytest.approx(30.0)


def test_unique_ids_have_upper_bits_of_their_own():
    plain, unique = (
        follow(Settings(probationAge=0), [[PRESENT[0]]]),
        follow(Settings(probationAge=0, useUniqueID=True), [[PRESENT[0]]]),
    )
    assert plain == [[0]]
    assert unique[0][0] >= 2**32


def test_ids_start_again_only_where_that_is_asked_for():
    stream = Stream(Settings(probationAge=0), seed=1)
    stream.update(0, [PRESENT[0]], [0], [0.9])
    stream.reset(ids=False)
    assert stream.update(1, [PRESENT[0]], [0], [0.9])[0].target.object_id == 1
    stream.reset(ids=True)
    assert stream.update(2, [PRESENT[0]], [0], [0.9])[0].target.object_id == 0


def test_a_good_file_becomes_settings(tmp_path):
    path = tmp_path / "tracker.yml"
    path.write_text(
        HEAD + "TargetManagement:\n  probationAge: 7\nVisualTracker:\n  visualTrackerType: 1\n"
        "StateEstimator:\n  stateEstimatorType: 1\n"
    )
    settings = Settings.of(read_config(path))
    assert (settings.probationAge, settings.confident, settings.predicts) == (7, True, True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("TargetManagement:\n  probationAge: 7\n", "first line"),
        ("%YAML 1.0\nTargetManagement:\n  probationAge: 7\n", "first line"),
        (HEAD + "TargetManagement:\n  probationage: 7\n", "unknown key TargetManagement.probationage"),
        (HEAD + "TargetManager:\n  probationAge: 7\n", "unknown section TargetManager"),
        (HEAD + "TargetManagement:\n  probationAge: many\n", "takes int"),
        (HEAD + "TargetManagement:\n  probationAge: 1.5\n", "takes int"),
        (HEAD + "TargetManagement:\n  minIouDiff4NewTarget: wide\n", "takes float"),
        (HEAD + "TargetManagement:\n  preserveStreamUpdateOrder: 3\n", "takes bool"),
        (HEAD + "TargetManagement: {}\nVisualTracker:\n  featureImgSizeLevel: 6\n", "takes int"),
        (HEAD + "TargetManagement: {}\nVisualTracker:\n  visualTrackerType: 9\n", "takes int"),
        (HEAD + "BaseConfig:\n  minDetectorConfidence: 0.1\n", "TargetManagement is missing"),
        (HEAD + "TargetManagement: [\n", "tracker.yml"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, reason):
    path = tmp_path / "tracker.yml"
    path.write_text(text)
    with pytest.raises(TrackerConfigError, match=reason):
        read_config(path)
