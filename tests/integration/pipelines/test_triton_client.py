"""The data plane's client against a real Triton: answers, orders, refusals, and what outages do to frames in flight."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper
from tests.fixtures.models.contract_models import MARKER_LABELS, POISON_RED, expected_marks
from tests.fixtures.triton import TritonServer

from countline_common.errors import DeadlineExceededError, InvalidInputError
from countline_common.triton.connection import Connection, bytes_input
from countline_common.triton.model_config import named_versions, overridden
from countline_pipelines.triton import (
    InferenceLostError,
    ModelOverrides,
    ModelRef,
    ModelRefusedError,
    Transport,
    infer_surely,
    loading,
    recovery,
)
from countline_pipelines.triton.client import TritonClient
from countline_pipelines.triton.slots import Slot, SlotRing

HEIGHT, WIDTH = 32, 48


def fill(ring: SlotRing, count: int, seed: int = 0) -> list[Slot]:
    """Slots with frames of noise, none of them poison."""
    frames = np.random.default_rng(seed).integers(0, POISON_RED, (count, HEIGHT, WIDTH, 3), np.uint8)
    slots = [ring.acquire() for _ in range(count)]
    for slot, frame in zip(slots, frames, strict=True):
        assert slot is not None
        slot.frame_hwc[:] = frame
    return [slot for slot in slots if slot is not None]


def marks(slots: list[Slot]) -> np.ndarray:
    return expected_marks(np.stack([slot.frame_hwc for slot in slots]))


async def backends_of(server: TritonServer, count: int) -> list[psutil.Process]:
    """The backends' processes, once there are as many: those of a model that is loaded again live a little longer."""
    async with asyncio.timeout(15):
        while len(found := psutil.Process(server.pid).children()) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


@pytest.fixture
def ring() -> SlotRing:
    with SlotRing(24, HEIGHT, WIDTH) as ring:
        yield ring


@pytest.fixture(params=[Transport.SHM, Transport.GRPC])
async def client(request: pytest.FixtureRequest, triton: TritonServer) -> AsyncIterator[TritonClient]:
    async with await TritonClient.connect(triton.grpc, request.param) as client:
        yield client


async def test_a_loaded_model_tells_its_size_labels_and_threshold(client: TritonClient) -> None:
    info = await client.load("marker")
    assert (info.height, info.width, info.max_detections, info.max_batch_size) == (HEIGHT, WIDTH, 5, 8)
    assert (info.labels, info.score_threshold, info.version) == (MARKER_LABELS, 0.4, 1)
    assert info.instances == len(os.sched_getaffinity(0))
    assert await client.metadata("marker") == info


async def test_answers_come_in_the_order_of_the_slots_wherever_they_lie(client: TritonClient, ring: SlotRing) -> None:
    await client.load("marker")
    await client.attach(ring)
    slots = fill(ring, 24)
    holes = {3, 4, 11}
    kept = [slot for index, slot in enumerate(slots) if index not in holes]
    shuffled = [kept[index] for index in np.random.default_rng(1).permutation(len(kept))]
    answers = await client.infer("marker", shuffled)
    np.testing.assert_allclose(answers, marks(shuffled), rtol=1e-4)


async def test_many_batches_at_a_time_each_get_their_own_answer(triton: TritonServer, ring: SlotRing) -> None:
    async with await TritonClient.connect(triton.grpc, max_in_flight=2) as client:
        await client.load("marker")
        await client.attach(ring)
        slots = fill(ring, 24)
        batches = [slots[first : first + 3] for first in range(0, 24, 3)]
        answers = await asyncio.gather(*(client.infer("marker", batch) for batch in batches))
    np.testing.assert_allclose(np.concatenate(answers), marks(slots), rtol=1e-4)


async def test_no_slots_give_no_answers(client: TritonClient) -> None:
    await client.load("marker")
    assert (await client.infer("marker", [])).shape == (0, 5, 6)


async def test_shared_memory_is_chosen_on_the_same_machine(triton: TritonServer) -> None:
    async with await TritonClient.connect(triton.grpc) as client:
        assert client.transport is Transport.SHM


async def test_bytes_are_chosen_where_triton_sees_another_dev_shm(own_triton_elsewhere: str, ring: SlotRing) -> None:
    async with await TritonClient.connect(own_triton_elsewhere) as client:
        assert client.transport is Transport.GRPC
        await client.load("marker")
        await client.attach(ring)
        slots = fill(ring, 4)
        np.testing.assert_allclose(await client.infer("marker", slots), marks(slots), rtol=1e-4)
    with pytest.raises(InvalidInputError, match="cannot read this machine's shared memory"):
        await TritonClient.connect(own_triton_elsewhere, Transport.SHM)


NEW_MEMORY = """
set -e
case "$TMPDIR" in /dev/shm/*) moved=1; mount --bind "$TMPDIR" /mnt ;; *) moved= ;; esac
mount -t tmpfs tmpfs /dev/shm
if [ "$moved" ]; then mkdir -p "$TMPDIR"; mount --move /mnt "$TMPDIR"; fi
exec "$@"
"""
"""Gives a program an empty /dev/shm, in which the tests' own files are in their place if they lie there."""


@pytest.fixture
def own_triton_elsewhere(own_triton, tmp_path: Path) -> str:
    """A Triton with a /dev/shm of its own, as in another container; skips where namespaces are not allowed."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not make mount namespaces")
    within = ["unshare", "--mount", "sh", "-c", NEW_MEMORY, "sh"]
    return str(own_triton(within=within).grpc)


async def test_overrides_change_what_the_machine_runs_and_not_the_repository(fresh_triton: TritonServer) -> None:
    before = (fresh_triton.repository / "marker" / "config.pbtxt").read_text()
    async with await TritonClient.connect(fresh_triton.grpc) as client:
        overrides = ModelOverrides(instances=1, intra_op_threads=2, max_batch_size=3, max_queue_delay_us=500)
        info = await client.load("marker", overrides)
        assert (info.instances, info.max_batch_size) == (1, 3)
    assert len(await backends_of(fresh_triton, 1)) == 1
    assert (fresh_triton.repository / "marker" / "config.pbtxt").read_text() == before


async def test_a_model_that_is_not_there_is_refused_with_a_hint(client: TritonClient) -> None:
    with pytest.raises(ModelRefusedError, match="has no model 'nothing'") as caught:
        await client.load("nothing")
    assert "countline models add" in caught.value.hint


async def test_a_model_that_breaks_the_contract_is_refused_by_name_and_tensor(fresh_triton: TritonServer) -> None:
    folder = fresh_triton.repository / "floats"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(_float_model())
    (folder / "config.pbtxt").write_text('backend: "onnxruntime"\nmax_batch_size: 4\n')
    async with await TritonClient.connect(fresh_triton.grpc) as client:
        with pytest.raises(ModelRefusedError, match="'frames' must be TYPE_UINT8, and is TYPE_FP32"):
            await client.load("floats")


def _float_model() -> bytes:
    """A float32 network with names of the contract; its configuration leaves inputs and outputs to auto-completion."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["frames"], ["detections"])],
        "floats",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", 5, 6])],
        [helper.make_tensor_value_info("detections", TensorProto.FLOAT, ["batch", 5, 6])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


async def test_frames_of_the_wrong_size_are_refused_before_they_travel(client: TritonClient) -> None:
    await client.load("marker")
    with SlotRing(1, 16, 16) as small:
        await client.attach(small)
        slot = small.acquire()
        with pytest.raises(InvalidInputError, match="takes frames of 48x32, not 16x16"):
            await client.infer("marker", [slot])
        await client.detach(small)


async def test_one_bad_request_does_not_fail_those_it_was_joined_with(fresh_triton: TritonServer) -> None:
    """Triton's batcher joins the requests, and the backend joins their frames: only the poisoned one gets an error."""
    frames = np.full((6, 1, HEIGHT, WIDTH, 3), 7, np.uint8)
    frames[2, 0, 0, 0, 0] = POISON_RED
    async with Connection(fresh_triton.grpc) as connection:
        await connection.load("marker")
        config = await connection.model_config("marker")
        assert config is not None
        config["parameters"]["run_batch_size"] = {"string_value": "8"}
        config["instance_group"] = [{"count": 1, "kind": "KIND_AUTO"}]
        config["dynamic_batching"] = {"preferred_batch_size": [6], "max_queue_delay_microseconds": "2000000"}
        await connection.load("marker", config)
        calls = [connection.infer(ModelRef("marker"), bytes_input(frame), 20.0) for frame in frames]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[2], ModelRefusedError | InferenceLostError)
    for index in (0, 1, 3, 4, 5):
        np.testing.assert_allclose(answers[index], expected_marks(frames[index]), rtol=1e-4)


async def test_a_poisoned_frame_is_refused_and_not_taken_for_an_outage(client: TritonClient, ring: SlotRing) -> None:
    await client.load("marker")
    await client.attach(ring)
    slots = fill(ring, 1)
    slots[0].frame_hwc[0, 0, 0] = POISON_RED
    with pytest.raises(ModelRefusedError, match="refuses"):
        await client.infer("marker", slots)
    await client.wait_ready(0)
    slots[0].frame_hwc[0, 0, 0] = 0
    np.testing.assert_allclose(await client.infer("marker", slots), marks(slots), rtol=1e-4)


@pytest.mark.parametrize("transport", [Transport.SHM, Transport.GRPC])
async def test_no_frame_is_lost_when_triton_is_killed_and_started_again(
    own_triton, ring: SlotRing, transport: Transport
) -> None:
    server = own_triton()
    ports = tuple(int(address.rpartition(":")[2]) for address in (server.http, server.grpc, server.metrics))
    async with await TritonClient.connect(server.grpc, transport) as client:
        await client.load("marker", ModelOverrides(instances=1))
        await client.attach(ring)
        slots = fill(ring, 24)
        lost = asyncio.Event()
        workers = [asyncio.create_task(_keep_asking(client, slots[first : first + 4], lost)) for first in (0, 8, 16)]
        await asyncio.sleep(0)
        psutil.Process(server.pid).kill()
        await asyncio.wait_for(lost.wait(), 20)
        await asyncio.to_thread(own_triton, ports=ports)
        for worker in workers:
            await asyncio.wait_for(worker, 60)
        assert (await client.metadata("marker")).instances == 1, "the overrides hold after a restart"


async def _keep_asking(client: TritonClient, slots: list[Slot], lost: asyncio.Event) -> None:
    """Ask until ten batches were answered after the outage; every answer must be right."""
    answered_after = 0
    while answered_after < 10:
        try:
            answers = await client.infer("marker", slots)
        except InferenceLostError:
            lost.set()
            answers = await infer_surely(client, "marker", slots, patience_s=60)
        np.testing.assert_allclose(answers, marks(slots), rtol=1e-4)
        answered_after += lost.is_set()


async def test_a_backend_process_that_is_killed_is_survived(fresh_triton: TritonServer, ring: SlotRing) -> None:
    async with await TritonClient.connect(fresh_triton.grpc) as client:
        await client.load("marker", ModelOverrides(instances=1))
        await client.attach(ring)
        slots = fill(ring, 4)
        for backend in await backends_of(fresh_triton, 1):
            backend.kill()
        answers = await infer_surely(client, "marker", slots, patience_s=60)
        np.testing.assert_allclose(answers, marks(slots), rtol=1e-4)


async def test_a_version_that_is_served_no_more_stops_no_other_one(
    fresh_triton: TritonServer, ring: SlotRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All models of the client waited for the one that never came back."""
    monkeypatch.setattr(recovery, "RETRY_REFUSED_S", 0.2)
    folder = fresh_triton.repository / "marker"
    shutil.copytree(folder / "1", folder / "2")
    config, both = folder / "config.pbtxt", "version_policy { all { } }\n"
    config.write_text(config.read_text() + both)
    async with await TritonClient.connect(fresh_triton.grpc) as client, Connection(fresh_triton.grpc) as operator:
        for model in ("marker@1", "marker@2", "other"):
            await client.load(model)
        await client.attach(ring)
        slots = fill(ring, 4)
        config.write_text(config.read_text().replace(both, "version_policy { specific { versions: [1] } }\n"))
        await operator.load("marker")
        with pytest.raises(ModelRefusedError, match="does not serve marker@2"):
            await infer_surely(client, "marker@2", slots, patience_s=30)
        for model in ("marker@1", "other"):
            np.testing.assert_allclose(await client.infer(model, slots), marks(slots), rtol=1e-4)
        config.write_text(config.read_text().replace("specific { versions: [1] }", "all { }"))
        await operator.load("marker")
        async with asyncio.timeout(20):
            while client._models.refused():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        np.testing.assert_allclose(await client.infer("marker@2", slots), marks(slots), rtol=1e-4)


async def test_a_version_that_is_added_while_another_is_being_loaded_is_not_dropped(
    fresh_triton: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was: what the worker sent, to suit the machine, named the versions that it had read a moment before."""
    monkeypatch.setattr(loading.os, "sched_getaffinity", lambda _: {0, 1, 2})
    folder = fresh_triton.repository / "marker"
    shutil.copytree(folder / "1", folder / "2")
    config = (folder / "config.pbtxt").read_text()
    async with await TritonClient.connect(fresh_triton.grpc) as client, Connection(fresh_triton.grpc) as operator:

        async def serve(versions: list[int]) -> None:
            text = f"{config}version_policy {{ specific {{ versions: {versions} }} }}\n"
            await asyncio.to_thread((folder / "config.pbtxt").write_text, text)
            await operator.load("marker")

        await serve([1])
        read = client._connection.model_config

        async def read_and_then_added(model: str) -> object:
            found = await read(model)
            await serve([1, 2])
            return found

        monkeypatch.setattr(client._connection, "model_config", read_and_then_added)
        await client.load("marker@1")
        in_force = await operator.model_config("marker")
        assert in_force is not None
        assert named_versions(in_force) == {1, 2}


async def test_a_version_that_does_not_load_leaves_the_others_in_peace_and_is_used_when_it_is_whole(
    fresh_triton: TritonServer,
) -> None:
    """Each attempt of a worker, every ten seconds, loaded again the versions that were counting."""
    config, second = (
        fresh_triton.repository / "marker" / "config.pbtxt",
        fresh_triton.repository / "marker" / "2" / "model.onnx",
    )
    config.write_text(config.read_text() + "version_policy { all { } }\n")
    async with await TritonClient.connect(fresh_triton.grpc) as client, Connection(fresh_triton.grpc) as operator:
        await client.load("marker@1")
        shutil.copytree(second.parents[1] / "1", second.parent)
        whole = second.read_bytes()
        second.write_bytes(b"half a model")
        reasons = []
        for _ in range(4):
            with pytest.raises(ModelRefusedError) as caught:
                await client.load("marker@2")
            reasons.append((fresh_triton.log.count("loading: marker:1"), caught.value.message))
        assert len(set(reasons)) == 1, "it is looked for once, and the reason stays"
        assert await operator.ready_versions("marker") == (1,)
        assert "version 2" in reasons[0][1]
        second.write_bytes(whole)
        await operator.load("marker")  # by whoever mended it
        assert (await client.load("marker@2")).version == 2


async def test_a_version_that_was_retired_is_said_with_what_to_do(fresh_triton: TritonServer) -> None:
    async with await TritonClient.connect(fresh_triton.grpc) as client:
        await client.load("marker@1")
        for _ in range(2):
            await _refused_without(client, "marker@2")


async def _refused_without(client: TritonClient, model: str) -> None:
    with pytest.raises(ModelRefusedError, match=f"does not serve {model}") as caught:
        await client.load(model)
    assert f"countline models promote {model}" in caught.value.hint


async def test_a_version_that_was_put_beside_the_others_by_hand_is_found_at_the_next_look(
    fresh_triton: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "LOOK_AGAIN_S", 0.2)
    async with await TritonClient.connect(fresh_triton.grpc) as client:
        await client.load("marker@1")
        await _refused_without(client, "marker@2")
        shutil.copytree(fresh_triton.repository / "marker" / "1", fresh_triton.repository / "marker" / "2")
        async with asyncio.timeout(20):
            while True:
                with suppress(ModelRefusedError):
                    assert (await client.load("marker@2")).version == 2
                    return
                await asyncio.sleep(0.02)


async def test_frames_travel_in_smaller_requests_once_a_model_takes_fewer_at_a_time(
    fresh_triton: TritonServer, ring: SlotRing
) -> None:
    """They were refused for good, and a file's were lost, when the running model was tuned to a smaller batch."""
    async with await TritonClient.connect(fresh_triton.grpc) as client, Connection(fresh_triton.grpc) as operator:
        await client.load("marker")
        await client.attach(ring)
        slots = fill(ring, 8)
        config = await operator.model_config("marker")
        assert config is not None
        await operator.load("marker", overridden(config, ModelOverrides(max_batch_size=3)))
        answers = await infer_surely(client, "marker", slots, patience_s=30)
        np.testing.assert_allclose(answers, marks(slots), rtol=1e-4)
        assert (await client.metadata("marker")).max_batch_size == 3
        await client.wait_ready(0)


async def test_an_outage_that_does_not_end_is_said_within_the_patience(own_triton, ring: SlotRing) -> None:
    server = own_triton()
    async with await TritonClient.connect(server.grpc) as client:
        await client.load("marker")
        await client.attach(ring)
        slots = fill(ring, 2)
        await asyncio.to_thread(server.stop)
        with pytest.raises(DeadlineExceededError, match="gave no answer within 1 s"):
            await infer_surely(client, "marker", slots, patience_s=1)
        assert all(slot.state.value == "held" for slot in slots), "the caller still has its frames"


async def test_nobody_at_the_address_is_said_with_the_address() -> None:
    with pytest.raises(InferenceLostError, match=r"127\.0\.0\.1:1 does not answer"):
        await TritonClient.connect("127.0.0.1:1", timeout_s=0.2)


async def test_closing_leaves_no_region_with_triton_and_no_segment(triton: TritonServer) -> None:
    client = await TritonClient.connect(triton.grpc, Transport.SHM)
    with SlotRing(2, HEIGHT, WIDTH) as ring:
        await client.attach(ring)
        await client.close()
        name = ring.name
    assert name not in os.listdir("/dev/shm")  # noqa: PTH208
    async with Connection(triton.grpc) as connection:
        assert name not in await connection.regions()
