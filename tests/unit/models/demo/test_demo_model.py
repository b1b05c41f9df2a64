"""The demo detector as it is shipped: the contract, and that it finds what is there."""

import re

import numpy as np
import pytest
from tests.fixtures.repository import REPOSITORY

from countline_demo.scenes.clips import CLIPS
from countline_demo.scenes.scene import CLASSES, Renderer
from countline_demo.training.evaluate import evaluate, padded
from countline_models.contract import check_contract, open_session, run_contract

FOLDER = REPOSITORY / "triton-repo" / "demo_detector"
MODEL = FOLDER / "1" / "model.onnx"


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    renderer = Renderer(CLIPS["street"]().scene)
    return np.stack([padded(renderer.frame(index).pixels) for index in (20, 90, 150)])


def test_the_shipped_model_obeys_the_contract_and_is_small() -> None:
    contract = check_contract(MODEL)
    assert (contract.height, contract.width, contract.max_detections) == (384, 640, 100)
    assert contract.labels == CLASSES
    assert MODEL.stat().st_size <= 2_000_000


def test_its_configuration_says_the_same_as_the_model() -> None:
    config = (FOLDER / "config.pbtxt").read_text(encoding="utf-8")
    (threshold,) = re.findall(r'key: "score_threshold"\s*value \{ string_value: "([0-9.]+)" \}', config)
    assert float(threshold) == check_contract(MODEL, run=False).score_threshold
    assert 'backend: "onnxruntime"' in config
    assert "KIND_CPU" not in config
    assert (FOLDER / "labels.txt").read_text(encoding="utf-8").split() == list(CLASSES)


def test_a_batch_gives_what_its_frames_give_alone(frames: np.ndarray) -> None:
    session = open_session(MODEL.read_bytes())
    together = run_contract(session, frames)
    alone = np.concatenate([run_contract(session, frame[None]) for frame in frames])
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_unused_rows_are_zero_and_used_ones_come_first_by_score(frames: np.ndarray) -> None:
    for detections in run_contract(open_session(MODEL.read_bytes()), frames):
        scores = detections[:, 4]
        assert np.all(np.diff(scores) <= 0)
        assert np.all(detections[scores == 0] == 0)
        used = detections[scores > 0]
        assert len(used) >= 2
        assert np.all(used[:, 0] < used[:, 2])
        assert np.all(used[:, 1] < used[:, 3])


def test_it_finds_most_of_what_is_on_a_seed_it_has_never_seen() -> None:
    """A floor under the shipped weights, on a few frames; `countline models evaluate-demo` says how good they are."""
    threshold = check_contract(MODEL, run=False).score_threshold
    report = evaluate(MODEL, threshold, crowd="calm", seeds=(6,), frames=6)
    assert report.objects > 60
    assert report.total.precision >= 0.92
    assert report.total.recall >= 0.95
