"""A network as its authors export it, prepared by command, served by Triton, asked through shared memory."""

import json
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.fixtures.forked.command import countline
from tests.fixtures.triton import start_triton

from countline_models.contract import open_session, run_contract
from countline_pipelines.triton.client import TritonClient
from countline_pipelines.triton.slots import SlotRing


@pytest.fixture
def prepared(shared_data: Path, tmp_path: Path) -> dict[str, Any]:
    """What `countline models prepare` says of yolox_nano, which then lies in tmp_path/repository."""
    command = [str(countline()), "models", "prepare"]
    model = shared_data / "models" / "yolox_nano.onnx"
    out = ["--out", str(tmp_path / "repository"), "--json"]
    answer = subprocess.run([*command, str(model), *out], capture_output=True, check=True)
    return dict(json.loads(answer.stdout))


async def test_triton_answers_what_onnx_runtime_answers(
    prepared: dict[str, Any], shared_data: Path, tmp_path: Path
) -> None:
    assert (prepared["name"], prepared["head"], prepared["labels"][2]) == ("yolox_nano", "yolox", "car")
    repository = tmp_path / "repository"
    server = start_triton(repository, tmp_path / "triton")
    try:
        async with await TritonClient.connect(server.grpc) as client:
            info = await client.load("yolox_nano")
            assert info.labels == tuple(prepared["labels"])
            with SlotRing(6, info.height, info.width) as ring:
                await client.attach(ring)
                slots = [slot for slot in (ring.acquire() for _ in range(6)) if slot is not None]
                fill_with_cars(shared_data, ring)
                answers = await client.infer("yolox_nano", slots)
                session = open_session((repository / "yolox_nano" / "1" / "model.onnx").read_bytes())
                np.testing.assert_allclose(answers, run_contract(session, ring.frames_nhwc), atol=1e-3)
                assert (answers[:, 0, 4] > 0.5).all(), "every one of these frames shows a car"
    finally:
        server.stop()


def fill_with_cars(shared_data: Path, ring: SlotRing) -> None:
    with av.open(str(shared_data / "videos" / "car.mp4")) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if 79 <= index < 79 + ring.count:
                ring.slots[index - 79].frame_hwc[:234] = frame.to_ndarray(format="rgb24", width=416, height=234)
