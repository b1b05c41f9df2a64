"""The messages of the details of a camera."""

import pytest

from countline.v1.cameras_pb2 import Camera, CameraObservation, CameraSpec
from countline.v1.models_pb2 import Model
from countline.v1.workers_pb2 import WORKER_STATE_OFFLINE, WORKER_STATE_ONLINE, Worker, WorkerState
from countline_analytics.api.details.messages import model_of, worker_of

MODELS = {"net": Model(name="net", live_version=3, width=640, height=384, labels=["person"])}


@pytest.mark.parametrize(
    ("configured", "counting", "version"),
    [("", "net@2", 2), ("net", "", 0), ("net@1", "", 1), ("net@1", "net@2", 2), ("net", "net", 0)],
)
def test_the_model_is_the_one_that_counts_else_the_configured_one(configured: str, counting: str, version: int) -> None:
    camera = Camera(spec=CameraSpec(model=configured), observed=CameraObservation(model=counting))
    model = model_of(camera, MODELS)
    assert model is not None
    assert (model.name, model.version, model.live_version, list(model.labels)) == ("net", version, 3, ["person"])


@pytest.mark.parametrize("model", ["", "other@1"])
def test_a_model_that_is_unknown_is_left_out(model: str) -> None:
    assert model_of(Camera(spec=CameraSpec(model=model)), MODELS) is None


@pytest.mark.parametrize(("state", "online"), [(WORKER_STATE_ONLINE, True), (WORKER_STATE_OFFLINE, False)])
def test_the_worker_is_the_one_that_holds_the_camera(state: WorkerState.ValueType, online: bool) -> None:
    workers = {"w1": Worker(worker_id="w1", state=state, camera_ids=["a", "b"], capacity=4)}
    worker = worker_of(Camera(observed=CameraObservation(worker_id="w1")), workers)
    assert worker is not None
    assert (worker.online, worker.camera_count, worker.capacity) == (online, 2, 4)
    assert worker_of(Camera(observed=CameraObservation(worker_id="w2")), workers) is None
    assert worker_of(Camera(), workers) is None
