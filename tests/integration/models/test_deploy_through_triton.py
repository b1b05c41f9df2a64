"""A deployment on the real embedded Triton: what is staged, served, refused and retired, and what goes on meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.fixtures.models.contract_models import marker_model
from tests.fixtures.triton import TritonServer, start_triton

from countline_common.errors import NotFoundError, UnavailableError
from countline_common.triton import ModelRef, ModelRefusedError
from countline_common.triton.connection import Connection, bytes_input
from countline_models.deploy import ExaminedModel, Limits, ModelFolder, ServingTriton, Tuning, examine
from countline_models.noise import noise_frames
from countline_pipelines.triton.client import TritonClient

pytestmark = pytest.mark.usefixtures("forked_probe")

WAIT_S = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    where = tmp_path_factory.mktemp("deploy")
    (where / "models").mkdir()
    started = start_triton(where / "models", where / "triton")
    yield started
    started.stop()


@pytest.fixture
async def serving(server: TritonServer) -> AsyncIterator[ServingTriton]:
    async with ServingTriton(server.grpc) as opened:
        yield opened


@pytest.fixture
def folder(server: TritonServer) -> Iterator[ModelFolder]:
    yield ModelFolder(server.repository)
    for path in server.repository.iterdir():
        ModelFolder(server.repository).remove(path.name) if path.name.startswith("gate") else None


def scoring(score: float) -> onnx.ModelProto:
    """The marker model with another score, by which its answers are known."""
    model = marker_model()
    fixed = next(tensor for tensor in model.graph.initializer if tensor.name == "fixed")
    fixed.CopyFrom(numpy_helper.from_array(np.array([0, 0, 0, 255, score, 1], np.float32), "fixed"))
    return model


async def candidate(folder: Path, score: float) -> ExaminedModel:
    file = folder / f"{score}.onnx"
    file.write_bytes(scoring(score).SerializeToString())
    return await examine(file, None, Limits())


async def score_of(connection: Connection, ref: str) -> float:
    answer = await connection.infer(ModelRef.parse(ref), bytes_input(noise_frames(32, 48)[:1]), 10.0)
    return round(float(answer[0, 0, 4]), 3)


async def until_ready(connection: Connection, name: str, versions: tuple[int, ...]) -> None:
    async with asyncio.timeout(WAIT_S):
        while await connection.ready_versions(name) != versions:  # noqa: ASYNC110  (it happens in Triton)
            await asyncio.sleep(0.05)


async def test_a_candidate_is_staged_held_to_its_file_measured_and_taken_away(
    serving: ServingTriton,
    folder: ModelFolder,
    server: TritonServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("countline_models.deploy.serving.MEASURE_S", 0.3)
    good = await candidate(tmp_path, 0.9)
    await serving.check()
    staged = folder.stage(good.file, good.contract)
    await serving.load(folder, staged)
    ref = ModelRef(staged, 1)
    await serving.verify(ref, good)
    await serving.warm_up(ref, good.contract)
    speed = await serving.measure(ref, good.contract)
    assert 0 < speed.latency_p50_ms <= speed.latency_p95_ms
    assert speed.frames_per_s <= 1000 / speed.latency_p50_ms * 2
    await serving.unload(staged)
    folder.unstage(staged)
    async with Connection(server.grpc) as connection:
        await until_ready(connection, staged, ())
    with pytest.raises(NotFoundError, match="there is no model"):
        await serving.load(folder, staged)


async def test_a_model_that_triton_serves_otherwise_than_it_was_examined_is_caught(
    serving: ServingTriton, folder: ModelFolder, tmp_path: Path
) -> None:
    good, other = await candidate(tmp_path, 0.9), await candidate(tmp_path, 0.7)
    staged = folder.stage(good.file, good.contract)
    await serving.load(folder, staged)
    ref = ModelRef(staged, 1)
    with pytest.raises(
        ModelRefusedError, match=r"answer frame 1 alone differently: values differ by up to 0.2"
    ) as caught:
        await serving.verify(ref, other)
    assert caught.value.hint
    renamed = replace(good, contract=replace(good.contract, labels=("walker", "car")))
    with pytest.raises(ModelRefusedError, match=r"names the classes of .* person, vehicle, not walker, car"):
        await serving.verify(ref, renamed)
    resized = replace(good, contract=replace(good.contract, width=64))
    with pytest.raises(ModelRefusedError, match="with 48x32 and 5 detections, not 64x32 and 5"):
        await serving.verify(ref, resized)
    await serving.unload(staged)
    assert folder.unstage_all() == [staged]


async def test_a_broken_third_version_leaves_the_two_that_are_served(
    serving: ServingTriton, folder: ModelFolder, server: TritonServer, tmp_path: Path
) -> None:
    first, second = await candidate(tmp_path, 0.9), await candidate(tmp_path, 0.7)
    folder.write_version("gate", 1, first.file)
    folder.serve("gate", [1], first.contract)
    await serving.load(folder, "gate")
    async with Connection(server.grpc) as connection, asking(connection, "gate@1") as answered:
        folder.write_version("gate", 2, second.file)
        folder.serve("gate", [1, 2], first.contract)
        await serving.load(folder, "gate")
        await serving.verify(ModelRef("gate", 1), first)
        await serving.verify(ModelRef("gate", 2), second)

        (tmp_path / "broken.onnx").write_bytes(first.file.read_bytes()[:200])
        folder.write_version("gate", 3, tmp_path / "broken.onnx")
        folder.serve("gate", [1, 2, 3], first.contract)
        with pytest.raises(ModelRefusedError, match="gate"):
            await serving.load(folder, "gate")
        assert await connection.ready_versions("gate") == (1, 2)
        assert [await score_of(connection, f"gate@{version}") for version in (1, 2)] == [0.9, 0.7]

        folder.serve("gate", [1, 2], first.contract)
        folder.remove("gate", 3)
        await serving.load(folder, "gate")
        assert await connection.ready_versions("gate") == (1, 2)
    assert len(answered) > 10
    assert set(answered) == {0.9}, "the served version answered every request all the while"


async def test_a_load_that_is_undone_by_one_that_knew_less_is_done_again(
    serving: ServingTriton, folder: ModelFolder, server: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker loaded right afterwards what it had read before; the deployment failed, after a minute."""
    first, second = await candidate(tmp_path, 0.9), await candidate(tmp_path, 0.7)
    folder.write_version("gate-5", 1, first.file)
    folder.write_version("gate-5", 2, second.file)
    folder.serve("gate-5", [1], first.contract)
    await serving.load(folder, "gate-5")
    async with Connection(server.grpc) as worker:
        before = await worker.model_config("gate-5")
        load = serving._connection.load

        async def load_and_be_undone(name: str, config: object = None) -> None:
            monkeypatch.setattr(serving._connection, "load", load)
            await load(name, config)
            await worker.load(name, before)
            await until_ready(worker, name, (1,))

        monkeypatch.setattr(serving._connection, "load", load_and_be_undone)
        folder.serve("gate-5", [1, 2], first.contract)
        await serving.load(folder, "gate-5")
        assert await worker.ready_versions("gate-5") == (1, 2)
    await serving.unload("gate-5")


@asynccontextmanager
async def asking(connection: Connection, ref: str) -> AsyncIterator[list[float]]:
    """Ask a version a hundred times a second; a request that fails ends the block with its error."""
    answered: list[float] = []
    over = asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            answered.append(await score_of(connection, ref))
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask(), name="asking")
        yield answered
        over.set()


async def test_a_version_that_is_retired_is_let_go_and_comes_back(
    serving: ServingTriton, folder: ModelFolder, server: TritonServer, tmp_path: Path
) -> None:
    first, second = await candidate(tmp_path, 0.9), await candidate(tmp_path, 0.7)
    for version, each in ((1, first), (2, second)):
        folder.write_version("gate-2", version, each.file)
    async with Connection(server.grpc) as connection:
        for versions in ((1, 2), (2,), (1,), ()):
            folder.serve("gate-2", versions, first.contract)
            await serving.load(folder, "gate-2")
            await until_ready(connection, "gate-2", versions)
        folder.serve("gate-2", [1, 2], first.contract)
        await serving.load(folder, "gate-2")
        assert [await score_of(connection, f"gate-2@{version}") for version in (1, 2)] == [0.9, 0.7]
    await serving.unload("gate-2")


async def test_a_worker_finds_a_model_as_it_was_tuned_and_loads_nothing_anew(
    serving: ServingTriton, folder: ModelFolder, server: TritonServer, tmp_path: Path
) -> None:
    good = await candidate(tmp_path, 0.9)
    folder.write_version("gate-3", 1, good.file)
    for tuning, instances in ((Tuning(instances=3, max_batch_size=4), 3), (Tuning(), len(os.sched_getaffinity(0)))):
        folder.serve("gate-3", [1], good.contract, tuning)
        before = server.log.count("successfully loaded 'gate-3'")
        await serving.load(folder, "gate-3")
        async with asyncio.timeout(WAIT_S):  # Triton may log a load after it has answered it
            while (loaded := server.log.count("successfully loaded 'gate-3'")) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        async with await TritonClient.connect(server.grpc) as client:
            info = await client.load("gate-3@1")
        assert (info.instances, info.max_batch_size) == (instances, tuning.max_batch_size or 8)
        assert server.log.count("successfully loaded 'gate-3'") == loaded > 0
    await serving.unload("gate-3")


WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from countline_models.contract_model import ContractModel
    from countline_models.deploy import ModelFolder

    folder, file = ModelFolder(Path(sys.argv[1])), Path(sys.argv[2])
    for version in range(2, 100_000):
        folder.write_version("gate-4", version, file)
        folder.serve("gate-4", [1, version], ContractModel(32, 48, 5, ("person", "vehicle"), 0.4))
        folder.remove("gate-4", version - 1) if version > 2 else None
    """
)


def kill_in_the_middle(folder: ModelFolder, file: Path) -> None:
    """Run the writer, and kill it when it has written some versions."""
    command = [sys.executable, "-c", WRITER, str(folder.root), str(file)]
    deadline_s = time.monotonic() + WAIT_S
    with subprocess.Popen(command) as writer:
        while max(int(path.name) for path in (folder.root / "gate-4").glob("[1-9]*")) < 4:
            assert writer.poll() is None
            assert time.monotonic() < deadline_s
        writer.send_signal(signal.SIGKILL)


async def test_triton_loads_what_a_killed_writer_left(
    serving: ServingTriton, folder: ModelFolder, server: TritonServer, tmp_path: Path
) -> None:
    good = await candidate(tmp_path, 0.9)
    folder.write_version("gate-4", 1, good.file)
    folder.serve("gate-4", [1], good.contract)
    kill_in_the_middle(folder, good.file)
    await serving.load(folder, "gate-4")
    async with Connection(server.grpc) as connection:
        assert await connection.ready_versions("gate-4") == folder.find("gate-4").served
        assert await score_of(connection, "gate-4@1") == 0.9
    await serving.unload("gate-4")


async def test_a_triton_that_is_not_there_is_unavailable(folder: ModelFolder) -> None:
    async with ServingTriton("127.0.0.1:1") as nobody:
        with pytest.raises(UnavailableError, match="does not answer") as caught:
            await nobody.check()
    assert caught.value.hint
