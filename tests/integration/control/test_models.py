"""The service of models on a real Triton, a real database and a real NATS: deploying, promoting, trials, restarts."""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import nats
import psycopg
import pytest
from tests.fixtures.clips import (
    BLOB_LABELS,
    MIDDLE,
    Pass,
    blob_model,
    render,
    write_blob_repository,
    write_blob_versions,
)
from tests.fixtures.control.audit import audited_calls
from tests.fixtures.control.fake_workers import create_camera, eventually, working
from tests.fixtures.control.methods import audited
from tests.fixtures.models.contract_models import marker_model
from tests.fixtures.nats import NatsServer
from tests.fixtures.triton import FreshTriton, TritonServer

from countline.v1 import cameras_pb2, events_pb2, models_pb2, models_pb2_grpc
from countline.v1.events_pb2 import TrialRecord, TrialTally
from countline.v1.models_pb2 import DeployHeader, DeployModelRequest, DeployModelResponse, Model, ModelVersion
from countline_common.data import bus
from countline_common.errors import CountlineError, InvalidInputError, ResourceExhaustedError, UnavailableError
from countline_common.grpc.errors import from_rpc_error
from countline_common.times import to_timestamp
from countline_common.triton import ModelRef
from countline_common.triton.connection import Connection
from countline_common.triton.model_config import named_versions
from countline_control.models import store, upkeep
from countline_control.models.deployment.domain import DeployRequest
from countline_control.models.deployment.progress import Progress
from countline_control.models.domain import MOST_DEPLOYMENTS, StoredModel, StoredVersion
from countline_models.contract_model import ContractModel
from countline_models.deploy import ModelBackend, ModelFolder, ModelTarget, Tuning, serving

from .conftest import Control

pytestmark = [pytest.mark.early, pytest.mark.timeout(600)]

CHUNK = 1 << 16
WAIT_S = 120.0


def variant(comment: str) -> bytes:
    """A blob model whose bytes differ from every other's."""
    model = blob_model()
    model.doc_string = comment
    return bytes(model.SerializeToString())


@dataclass
class Deployed:
    """The answers to a deployment."""

    steps: list[tuple[str, int]] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)
    version: ModelVersion | None = None


@dataclass
class Service:
    """A control-plane with its Triton."""

    control: Control
    triton: TritonServer
    repository: Path

    @property
    def models(self):
        return self.control.caller("admin").models

    async def deploy(self, name: str, data: bytes, after: bytes = b"", **header: object) -> Deployed:
        """Upload a model, then a clip. Raises the `CountlineError` of a refusal."""
        described = {"size_bytes": len(data), "digest": hashlib.sha256(data).hexdigest(), **header}
        first = DeployModelRequest(header=DeployHeader(name=name, **described))

        def requests() -> Iterator[DeployModelRequest]:
            yield first
            for part in (data, after):
                for start in range(0, len(part), CHUNK):
                    yield DeployModelRequest(chunk=part[start : start + CHUNK])

        found = Deployed()

        def call() -> None:
            with grpc.insecure_channel(self.control.plane.addresses["models"]) as channel:
                stub = models_pb2_grpc.ModelServiceStub(channel)
                for answer in stub.DeployModel(requests(), metadata=self.control.caller("admin").metadata):
                    _note(found, answer)

        try:
            # As the command does: the asynchronous interface may lose the reason of a refusal during the upload.
            await asyncio.to_thread(call)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return found

    async def show(self, name: str) -> Model:
        return (await self.models.GetModel(models_pb2.GetModelRequest(name=name))).model

    async def states(self, name: str) -> dict[int, str]:
        shown = await self.show(name)
        return {
            each.version: models_pb2.ModelState.Name(each.state).removeprefix("MODEL_STATE_").lower()
            for each in shown.versions
        }

    async def served(self, name: str) -> tuple[int, ...]:
        async with Connection(self.triton.grpc) as connection:
            return await connection.ready_versions(name)

    def files(self) -> dict[str, bytes]:
        """Every file of the repository, to check that nothing changed."""
        return {str(p.relative_to(self.repository)): p.read_bytes() for p in self.repository.rglob("*") if p.is_file()}


def _note(found: Deployed, answer: DeployModelResponse) -> None:
    if not found.steps or found.steps[-1] != (answer.step, answer.state):
        found.steps.append((answer.step, answer.state))
    if answer.detail:
        found.details[answer.step] = answer.detail
    if answer.HasField("version"):
        found.version = answer.version


@pytest.fixture
def eager_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service that is started next corrects Triton at once, and tries again soon."""
    monkeypatch.setattr(upkeep, "LOOK_S", 0.3)
    monkeypatch.setattr(upkeep, "AGAIN_S", 0.5)
    monkeypatch.setattr(upkeep, "AGAIN_LONGEST_S", 2.0)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the model `blob`, which was not deployed."""
    return write_blob_repository(tmp_path / "models", "blob")


@pytest.fixture
def second_version() -> None:
    """`service` begins with two versions of `blob` in its repository, which saves a test their deployment."""


@pytest.fixture
async def service(
    request: pytest.FixtureRequest,
    session_triton: FreshTriton,
    control_dsn: str,
    nats_server: NatsServer,
    start_control,
    forked_probe: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Service:
    """The control-plane of one test, on a Triton that serves nothing yet."""
    # Every deployment measures; how fast a machine is matters to no test here. Each instance is a process that imports.
    monkeypatch.setattr(serving, "MEASURE_S", 0.1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})

    def write(folder: Path) -> Path:
        if "second_version" in request.fixturenames:
            return write_blob_versions(folder, None, None)
        return write_blob_repository(folder, "blob")

    triton = await asyncio.to_thread(session_triton.begin, write)
    control = await start_control(
        control_dsn,
        nats_url=nats_server.url,
        model_repository=triton.repository,
        model_store="nats",
        triton_address=triton.grpc,
        default_model="blob",
    )
    found = Service(control, triton, triton.repository)
    await eventually(lambda: _knows_nats(found))
    return found


async def _knows_nats(service: Service) -> bool:
    return service.control.plane._jetstream() is not None


async def promote(service: Service, name: str, version: int, *, if_better: bool = False) -> Model:
    request = models_pb2.PromoteModelRequest(name=name, version=version, if_better=if_better)
    return (await service.models.PromoteModel(request)).model


async def refused(call) -> Exception:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_what_lies_in_the_repository_is_taken_in_as_live(service: Service) -> None:
    listed = await service.models.ListModels(models_pb2.ListModelsRequest())
    (model,) = listed.models
    assert (model.name, model.live_version, model.width, model.height) == ("blob", 1, 96, 64)
    assert tuple(model.labels) == BLOB_LABELS
    assert await service.states("blob") == {1: "live"}


async def test_a_model_goes_from_file_to_live_and_back(service: Service, control_dsn: str) -> None:
    done, skipped = models_pb2.STEP_STATE_DONE, models_pb2.STEP_STATE_SKIPPED
    first = await service.deploy("net", variant("one"), comment="the first")
    ends = [(step, state) for step, state in first.steps if state != models_pb2.STEP_STATE_RUNNING]
    steps = ["receive", "contract", "triton", "golden", "speed", "store", "load", "warm_up", "ready"]
    assert [step for step, _ in ends] == steps
    assert {state for step, state in ends if step != "golden"} == {done}
    assert dict(ends)["golden"] in {done, skipped}
    assert first.version is not None
    assert (first.version.version, first.version.created_by, first.version.comment) == (1, "admin", "the first")
    assert first.version.validation.frames_per_s > 0
    assert await service.states("net") == {1: "validated"}
    assert await service.served("net") == (1,)

    assert (await promote(service, "net", 1)).live_version == 1
    second = await service.deploy("net", variant("two"), promote=True)
    assert second.version is not None
    assert await service.states("net") == {2: "live", 1: "validated"}
    assert await service.served("net") == (1, 2)

    rolled_back = await service.models.RollbackModel(models_pb2.RollbackModelRequest(name="net"))
    assert rolled_back.model.live_version == 1
    assert await service.states("net") == {2: "validated", 1: "live"}

    await service.models.RetireModel(models_pb2.RetireModelRequest(name="net", version=2))
    assert await service.states("net") == {2: "retired", 1: "live"}
    await eventually(lambda: _serves(service, "net", (1,)))
    await promote(service, "net", 2)  # loaded again first
    assert await service.served("net") == (1, 2)

    await service.models.DeleteModel(models_pb2.DeleteModelRequest(name="net", version=1))
    assert await service.states("net") == {2: "live"}
    await service.models.DeleteModel(models_pb2.DeleteModelRequest(name="net"))
    assert not (service.repository / "net").exists()
    error = await refused(service.models.GetModel(models_pb2.GetModelRequest(name="net")))
    assert "no model 'net'" in str(error)
    third = await service.deploy("net", variant("three"))
    assert third.version is not None
    assert third.version.version == 3, "a number is never given twice, not even over the deletion of its model"
    calls = "Deploy Promote Deploy Rollback Retire Promote Delete Delete Deploy"
    assert audited_calls(control_dsn, "models") == [(f"{call}Model", "OK") for call in calls.split()]


def test_every_method_that_changes_a_model_is_called_here() -> None:
    """The tests below and above check that each of their calls leaves one row."""
    assert audited("ModelService") == {
        "DeployModel", "PromoteModel", "RollbackModel", "RetireModel", "DeleteModel", "TuneModel", "StartTrial",
        "StopTrial",
    }  # fmt: skip


async def _serves(service: Service, name: str, versions: tuple[int, ...]) -> bool:
    return await service.served(name) == versions


REFUSED = {
    "is not an ONNX model": (b"not a model at all", {}),
    "arrived with the digest": (variant("x"), {"digest": "0" * 64}),
    "is the limit": (variant("x"), {"size_bytes": 2**40}),
    "the upload ended after": (variant("x"), {"size_bytes": len(variant("x")) + 5}),
    "1 labels are given": (variant("x"), {"labels": ["only-one"]}),
    "cannot be a version of 'blob'": (marker_model().SerializeToString(), {}),
    "a frame takes": (variant("x"), {"max_latency_ms": 1e-6}),
    "is not a target": (variant("x"), {"target": "tpu"}),
    "already deployed as blob@2": (variant("two"), {}),
}
"""Reason → (file, header). The tests of the examination cover broken models."""


async def test_a_refused_model_leaves_what_served_before_untouched(service: Service) -> None:
    await service.deploy("blob", variant("two"))
    before, served = service.files(), await service.served("blob")
    for reason, (data, header) in REFUSED.items():
        with pytest.raises(CountlineError, match=reason) as caught:
            await service.deploy("blob", data, **header)
        assert caught.value.hint, "it says what to do"
        assert service.files() == before
    assert await service.served("blob") == served == (1, 2)
    assert await service.states("blob") == {2: "validated", 1: "live"}
    async with Connection(service.triton.grpc) as connection:
        index = await connection._client.get_model_repository_index()
    assert not [entry.name for entry in index.models if "staging" in entry.name and entry.state == "READY"]


async def test_a_triton_that_goes_away_in_the_middle_costs_nothing(service: Service) -> None:
    await service.deploy("net", variant("one"), promote=True)
    before = service.files()
    await asyncio.to_thread(service.triton.kill)
    with pytest.raises(CountlineError, match="Triton"):
        await service.deploy("net", variant("two"))
    assert service.files() == before
    assert await service.states("net") == {1: "live"}


async def test_a_client_that_hangs_up_leaves_nothing_behind(service: Service, tmp_path: Path) -> None:
    (await _uploading(service, "net")).cancel()
    await eventually(lambda: _is_empty(tmp_path / "work"))
    listed = await service.models.ListModels(models_pb2.ListModelsRequest())
    assert [model.name for model in listed.models] == ["blob"]


async def test_one_deployment_too_many_is_refused_at_once_and_let_in_when_another_has_ended(service: Service) -> None:
    """Each deployment needs room on the disk and Triton's time; their number had no limit."""
    open_ones = [await _uploading(service, f"net-{i}") for i in range(MOST_DEPLOYMENTS)]
    with pytest.raises(ResourceExhaustedError, match=f"{MOST_DEPLOYMENTS} deployments") as caught:
        await service.deploy("net", variant("one"))
    assert "COUNTLINE_MODEL_MOST_DEPLOYMENTS" in caught.value.hint
    open_ones[0].cancel()

    async def let_in() -> bool:
        try:
            return (await service.deploy("net", variant("one"))).version is not None
        except ResourceExhaustedError:
            return False

    await eventually(let_in)
    for call in open_ones:
        call.cancel()


async def _uploading(service: Service, name: str) -> grpc.aio.StreamStreamCall:
    """Start a deployment whose upload never ends."""
    data = variant("one")

    async def requests() -> AsyncIterator[DeployModelRequest]:
        digest = hashlib.sha256(data).hexdigest()
        yield DeployModelRequest(header=DeployHeader(name=name, size_bytes=len(data), digest=digest))
        yield DeployModelRequest(chunk=data[:100])
        await asyncio.Event().wait()

    call = service.models.DeployModel(requests())
    assert (await anext(aiter(call))).step == "receive"
    return call


async def test_a_version_that_was_deployed_is_reported_whether_or_not_its_client_still_listens(
    service: Service, control_dsn: str
) -> None:
    """The event was added after the last answer: if the client had disconnected by then, there was no event."""
    await _deploy_within(service, "net", variant("one"))
    with psycopg.connect(control_dsn) as connection:
        query = "SELECT subject, headers, payload FROM models.outbox WHERE subject LIKE 'countline.domain.%'"
        rows = connection.execute(query).fetchall()
    ((subject, headers, payload),) = rows
    assert (subject, headers["Countline-Actor"]) == ("countline.domain.model.deployed", "ann")
    (version,) = Model.FromString(payload).versions
    assert (version.version, version.state) == (1, models_pb2.MODEL_STATE_VALIDATED)


async def _deploy_within(service: Service, name: str, data: bytes) -> StoredVersion:
    """Deploy without gRPC."""
    header = DeployRequest(name, len(data), hashlib.sha256(data).hexdigest())

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    deployer = service.control.plane._models._deployer
    version: StoredVersion = await deployer.deploy(header, chunks(), "ann", Progress(asyncio.Queue()))
    return version


class _Held:
    """Wraps a method: records the call, and starts the method when the test allows it."""

    def __init__(self, method: Callable[..., Awaitable[None]]) -> None:
        self._method = method
        self.called, self.may_begin = asyncio.Event(), asyncio.Event()

    async def __call__(self, *arguments: object) -> None:
        self.called.set()
        await asyncio.wait_for(self.may_begin.wait(), WAIT_S)
        await self._method(*arguments)


async def test_a_deployment_that_is_cancelled_twice_takes_back_what_it_did_before_it_lets_go(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second cancellation released the lock while the undo of the first was half done."""
    await service.deploy("net", variant("one"), promote=True)
    before, repository = service.files(), service.control.plane._models._lifecycle._repository
    warm_up, take_back = _Held(repository.warm_up), _Held(repository.take_back)
    monkeypatch.setattr(repository, "warm_up", warm_up)
    monkeypatch.setattr(repository, "take_back", take_back)
    task = asyncio.create_task(_deploy_within(service, "net", variant("two")))
    await asyncio.wait_for(warm_up.called.wait(), WAIT_S)
    task.cancel()
    await asyncio.wait_for(take_back.called.wait(), WAIT_S)
    task.cancel()
    assert not (await asyncio.wait({task}, timeout=0.2))[0]
    assert repository.changing.locked(), "nobody else may change what is served yet"
    take_back.may_begin.set()
    await asyncio.wait({task}, timeout=WAIT_S)
    assert task.cancelled()
    await eventually(lambda: _is_free(repository.changing))  # upkeep takes it too, now and then
    assert service.files() == before
    assert await service.states("net") == {1: "live"}
    await eventually(lambda: _serves(service, "net", (1,)))


async def _is_free(lock: asyncio.Lock) -> bool:
    return not lock.locked()


async def test_a_client_that_leaves_while_its_version_is_written_down_changes_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version was stored, its event was added, and then it was undone."""
    installer = service.control.plane._models._deployer._installer
    finish = _Held(installer._finish)
    monkeypatch.setattr(installer, "_finish", finish)
    task = asyncio.create_task(_deploy_within(service, "net", variant("one")))
    await asyncio.wait_for(finish.called.wait(), WAIT_S)
    task.cancel()
    finish.may_begin.set()
    await asyncio.wait({task}, timeout=WAIT_S)
    assert task.cancelled()
    assert await service.states("net") == {1: "validated"}
    assert await service.served("net") == (1,)


async def test_a_client_that_leaves_while_its_version_is_registered_has_it_forgotten(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the load was undone: the model stayed, with a version that was never loaded."""
    installer = service.control.plane._models._deployer._installer
    register, is_registered, may_end = installer._register, asyncio.Event(), asyncio.Event()

    async def registers_and_waits(*arguments: object) -> object:
        registered = await register(*arguments)
        is_registered.set()
        await asyncio.wait_for(may_end.wait(), WAIT_S)
        return registered

    monkeypatch.setattr(installer, "_register", registers_and_waits)
    task = asyncio.create_task(_deploy_within(service, "net", variant("one")))
    await asyncio.wait_for(is_registered.wait(), WAIT_S)
    task.cancel()
    may_end.set()
    await asyncio.wait({task}, timeout=WAIT_S)
    assert task.cancelled()
    listed = await service.models.ListModels(models_pb2.ListModelsRequest())
    assert [model.name for model in listed.models] == ["blob"]
    assert not await installer._artifacts.has(hashlib.sha256(variant("one")).hexdigest())


async def test_a_deployment_that_fails_leaves_another_of_the_same_file_what_it_needs(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It deleted the file from the object store, because the other deployment was not registered yet."""
    models = service.control.plane._models._lifecycle
    warm_up, put = models._repository.warm_up, models._artifacts.put
    is_first_loading, is_second_stored = asyncio.Event(), asyncio.Event()

    async def fails_for_the_first(ref: ModelRef, contract: ContractModel) -> None:
        if ref.name == "first":
            is_first_loading.set()
            await asyncio.wait_for(is_second_stored.wait(), WAIT_S)
            raise UnavailableError("Triton does not answer")
        await warm_up(ref, contract)

    async def puts(digest: str, file: Path) -> None:
        await put(digest, file)
        if is_first_loading.is_set():
            is_second_stored.set()

    monkeypatch.setattr(models._repository, "warm_up", fails_for_the_first)
    monkeypatch.setattr(models._artifacts, "put", puts)
    first = asyncio.create_task(_deploy_within(service, "first", variant("one")))
    await asyncio.wait_for(is_first_loading.wait(), WAIT_S)
    second = await _deploy_within(service, "second", variant("one"))
    with pytest.raises(UnavailableError):
        await first
    assert await models._artifacts.has(second.digest)


async def _is_empty(folder: Path) -> bool:
    return not await asyncio.to_thread(lambda: list(folder.glob("deploy-*")))


async def test_a_golden_clip_that_is_counted_wrong_refuses_the_model(service: Service, tmp_path: Path) -> None:
    clip = render(tmp_path / "clip.mp4", [Pass(to_right=True), Pass(to_right=False)])

    def golden_with(into: int) -> models_pb2.GoldenClip:
        truth = {"lines": {"middle": {"points": MIDDLE, "in": into, "out": 1}}}
        return models_pb2.GoldenClip(
            clip="clip.mp4",
            size_bytes=clip.stat().st_size,
            digest=hashlib.sha256(clip.read_bytes()).hexdigest(),
            truth=json.dumps(truth),
        )

    with pytest.raises(CountlineError, match=r"clip\.mp4.*middle"):
        await service.deploy("net", variant("one"), after=clip.read_bytes(), golden=golden_with(7))
    passed = await service.deploy("net", variant("one"), after=clip.read_bytes(), golden=golden_with(1))
    assert passed.version is not None
    (line,) = passed.version.validation.golden.lines
    assert (line.line_id, line.counted_in, line.counted_out) == ("middle", 1, 1)


DIGEST = "a" * 64
NO_GOLDEN_CLIPS = (
    {"clip": "missing.mp4"},
    {"clip": "clip.mp4", "size_bytes": 0, "truth": "{}"},
    {"clip": "clip.mp4", "size_bytes": 10, "digest": DIGEST, "truth": "not json"},
    {"clip": "clip.mp4", "size_bytes": 10, "digest": DIGEST, "truth": "[1, 2]"},
    {"clip": "clip.mp4", "size_bytes": 10, "digest": DIGEST, "truth": "{}"},
    {"clip": "clip.mp4", "size_bytes": 10, "digest": DIGEST, "truth": "[" * 5_000},
    {"clip": "clip.mp4", "size_bytes": float("nan"), "digest": DIGEST, "truth": "{}"},
    {"truth": "{}"},
    {},
)


async def refused_upload(control: Control, chunks: Sequence[bytes] = (), **header: Any) -> CountlineError:
    """The error of a deployment that is refused."""

    async def requests() -> AsyncIterator[DeployModelRequest]:
        yield DeployModelRequest(header=DeployHeader(**{"name": "net", "size_bytes": 5, "digest": DIGEST, **header}))
        for chunk in chunks:
            yield DeployModelRequest(chunk=chunk)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in control.caller("admin").models.DeployModel(requests()):
            pass
    return from_rpc_error(refused.value)


async def test_a_golden_clip_that_cannot_be_counted_is_refused_at_once(control_dsn: str, start_control) -> None:
    """It was ignored, and the version passed on the demo clip."""
    control = await start_control(control_dsn)
    for golden in NO_GOLDEN_CLIPS:
        error = await refused_upload(control, [b"x" * 1_000_000] * 4, golden=models_pb2.GoldenClip(**golden))
        assert isinstance(error, InvalidInputError), golden


async def test_an_upload_that_does_not_fit_its_header_is_refused(control_dsn: str, start_control) -> None:
    """Bytes after the announced ones were ignored, and a limit of NaN ms was none."""
    control = await start_control(control_dsn)
    digest = hashlib.sha256(b"hello").hexdigest()
    assert (
        "longer than the announced 5 bytes" in (await refused_upload(control, [b"hello", b"x"], digest=digest)).message
    )
    for limit_ms in (-1.0, float("nan"), float("inf")):
        (problem,) = (await refused_upload(control, [b"hello"], max_latency_ms=limit_ms)).fields
        assert problem.field == "header.max_latency_ms"


# Which version counts cameras ---------------------------------------------------------------------------------------


async def test_workers_receive_the_live_version_and_each_change_of_it(service: Service) -> None:
    await create_camera(service.control, "door")
    async with working(service.control) as worker:
        await worker.until(lambda w: _received(w) == {"door": ("blob@1", "")})
        await service.deploy("blob", variant("two"))
        assert _received(worker) == {"door": ("blob@1", "")}, "a version that is not live changes nothing"
        await promote(service, "blob", 2)
        await worker.until(lambda w: _received(w) == {"door": ("blob@2", "")})
        await service.models.RollbackModel(models_pb2.RollbackModelRequest(name="blob"))
        await worker.until(lambda w: _received(w) == {"door": ("blob@1", "")})
        assert worker.epochs == {"door": 1}, "the camera stays where it is"


def _received(worker) -> dict[str, tuple[str, str]]:
    """Camera → (counting version, follower)."""
    if not worker.received:
        return {}
    return {a.camera.camera_id: (a.model, a.follower.model) for a in worker.received[-1].assignments}


@pytest.mark.usefixtures("second_version")
async def test_a_version_that_a_camera_names_cannot_be_retired(service: Service) -> None:
    await promote(service, "blob", 1)
    await create_camera(service.control, "door")
    spec = cameras_pb2.CameraSpec(model="blob@2")
    update = cameras_pb2.UpdateCameraRequest(camera=cameras_pb2.Camera(camera_id="door", spec=spec))
    update.update_mask.paths.append("spec.model")
    await service.control.caller("admin").cameras.UpdateCamera(update)
    error = await refused(service.models.RetireModel(models_pb2.RetireModelRequest(name="blob", version=2)))
    assert "named by door" in str(error)
    shown = await service.show("blob")
    assert {each.version: list(each.camera_ids) for each in shown.versions} == {2: ["door"], 1: []}


async def test_what_a_worker_still_uses_is_not_retired_before_it_has_said_so_to_a_service_that_started(
    service: Service, start_control: Callable, control_dsn: str
) -> None:
    """A worker still counted with the former live version. The new service took that version for unused."""
    await create_camera(service.control, "door")
    async with working(service.control) as worker:
        await worker.until(lambda w: _received(w) == {"door": ("blob@1", "")})
        await service.deploy("blob", variant("two"), promote=True)
    await service.control.plane.__aexit__()
    control = await start_control(control_dsn, model_repository=service.repository, triton_address=service.triton.grpc)
    models, request = control.caller("admin").models, models_pb2.RetireModelRequest(name="blob", version=1)
    assert isinstance(await refused(models.RetireModel(request)), UnavailableError)
    shown = (await models.GetModel(models_pb2.GetModelRequest(name="blob"))).model
    assert shown.live_version == 2, "looking is free"
    async with working(control) as worker:
        worker.states["door"] = _counting_with("blob@1")
        await eventually(lambda: _refused_for("named by door", models.RetireModel, request))
        worker.states["door"] = _counting_with("blob@2")
        await eventually(lambda: _retires(models, request))


def _counting_with(model: str) -> cameras_pb2.CameraObservation:
    return cameras_pb2.CameraObservation(state=cameras_pb2.OBSERVED_STATE_RUNNING, model=model)


async def _refused_for(reason: str, call: Callable, request: models_pb2.RetireModelRequest) -> bool:
    return reason in str(await refused(call(request)))


async def _retires(models, request: models_pb2.RetireModelRequest) -> bool:
    try:
        await models.RetireModel(request)
    except grpc.aio.AioRpcError:
        return False
    return True


# Trials -------------------------------------------------------------------------------------------------------------


async def start_trial(service: Service, mode: int, **more: object) -> models_pb2.Trial:
    request = models_pb2.StartTrialRequest(name="blob", challenger=2, mode=mode, camera_ids=["door"], **more)
    return (await service.models.StartTrial(request)).trial


async def tell(nats_url: str, trial_id: str, tallies: Sequence[tuple[int, int, int]]) -> None:
    """Publish records as a worker does, one for each (both, only the incumbent, only the challenger)."""
    client = await nats.connect(nats_url)
    stream = client.jetstream()
    for index, (both, incumbent, challenger) in enumerate(tallies):
        record = TrialRecord(
            trial_id=trial_id,
            camera_id="door",
            start=to_timestamp(1_700_000_000.0 + 10 * index),
            end=to_timestamp(1_700_000_010.0 + 10 * index),
            frames=100,
            frames_missed=1,
            tallies=[
                TrialTally(
                    line_id="gate",
                    direction=events_pb2.DIRECTION_IN,
                    both=both,
                    only_incumbent=incumbent,
                    only_challenger=challenger,
                )
            ],
        )
        data = record.SerializeToString(deterministic=True)
        for _ in range(2):  # a worker repeats unacknowledged records; each counts once
            await stream.publish(bus.trial_subject(trial_id, "door"), data)
    await client.close()


async def trial_when_ended(service: Service, trial_id: str) -> models_pb2.Trial:
    async def ended() -> bool:
        return (await _trial(service, trial_id)).state != models_pb2.TRIAL_STATE_RUNNING

    await eventually(ended)
    return await _trial(service, trial_id)


async def _trial(service: Service, trial_id: str) -> models_pb2.Trial:
    request = models_pb2.GetTrialRequest(name="blob", trial_id=trial_id)
    return (await service.models.GetTrial(request)).trial


@pytest.fixture
async def door(second_version: None, service: Service) -> AsyncIterator[object]:
    """A camera on a worker, and a second version of its model."""
    await promote(service, "blob", 1)
    await create_camera(service.control, "door")
    async with working(service.control) as worker:
        await worker.until(lambda w: _received(w) == {"door": ("blob@1", "")})
        yield worker


async def test_a_canary_with_20_percent_worse_recall_is_rejected_and_rolled_back(
    service: Service, door, nats_server: NatsServer
) -> None:
    trial = await start_trial(service, models_pb2.TRIAL_MODE_CANARY, promote_if_better=True)
    await door.until(lambda w: _received(w) == {"door": ("blob@2", "blob@1")})
    assert await service.states("blob") == {2: "canary", 1: "live"}
    await tell(nats_server.url, trial.trial_id, [(8, 2, 0)] * 12)
    ended = await trial_when_ended(service, trial.trial_id)
    assert ended.state == models_pb2.TRIAL_STATE_REJECTED
    assert "fewer" in ended.verdict
    assert "went back to blob@1" in ended.verdict
    await door.until(lambda w: _received(w) == {"door": ("blob@1", "")})
    assert await service.states("blob") == {2: "validated", 1: "live"}
    error = await refused(promote(service, "blob", 2, if_better=True))
    assert "rejected" in str(error)


async def test_an_equal_shadow_is_accepted_and_may_be_promoted(service: Service, door, nats_server: NatsServer) -> None:
    error = await refused(promote(service, "blob", 2, if_better=True))
    assert "never on trial" in str(error)
    trial = await start_trial(service, models_pb2.TRIAL_MODE_SHADOW)
    await door.until(lambda w: _received(w) == {"door": ("blob@1", "blob@2")})
    await tell(nats_server.url, trial.trial_id, [(10, 0, 0)] * 30)
    ended = await trial_when_ended(service, trial.trial_id)
    assert ended.state == models_pb2.TRIAL_STATE_ACCEPTED
    assert ended.lines[0].line_id == "gate"
    assert ended.total.both >= 30
    assert (ended.total.only_incumbent, ended.total.only_challenger) == (0, 0)
    assert ended.total.ratio == 1.0
    await door.until(lambda w: _received(w) == {"door": ("blob@1", "")})
    assert (await promote(service, "blob", 2, if_better=True)).live_version == 2


async def test_an_accepted_canary_is_promoted_by_itself_where_that_was_asked(
    service: Service, door, nats_server: NatsServer
) -> None:
    trial = await start_trial(service, models_pb2.TRIAL_MODE_CANARY, promote_if_better=True)
    await door.until(lambda w: _received(w) == {"door": ("blob@2", "blob@1")})
    await tell(nats_server.url, trial.trial_id, [(10, 0, 0)] * 30)
    assert (await trial_when_ended(service, trial.trial_id)).state == models_pb2.TRIAL_STATE_ACCEPTED
    await door.until(lambda w: _received(w) == {"door": ("blob@2", "")})
    assert await service.states("blob") == {2: "live", 1: "validated"}


async def test_a_record_counts_once_however_often_it_comes(service: Service, door, nats_server: NatsServer) -> None:
    trial = await start_trial(service, models_pb2.TRIAL_MODE_SHADOW)
    await tell(nats_server.url, trial.trial_id, [(3, 1, 0), (2, 0, 1)])

    async def arrived() -> bool:
        return (await _trial(service, trial.trial_id)).total.both >= 5

    await eventually(arrived)
    reported = await _trial(service, trial.trial_id)
    assert (reported.total.both, reported.total.only_incumbent, reported.total.only_challenger) == (5, 1, 1)
    assert (reported.total.seconds, reported.total.frames_missed) == (20.0, 2)
    assert sum(bucket.incumbent for bucket in reported.buckets) == 6
    assert reported.state == models_pb2.TRIAL_STATE_RUNNING
    (listed,) = (await service.models.ListTrials(models_pb2.ListTrialsRequest(name="blob"))).trials
    assert listed.total == reported.total


async def test_a_trial_is_stopped_by_hand_by_time_and_by_a_promotion(service: Service, door, control_dsn: str) -> None:
    trial = await start_trial(service, models_pb2.TRIAL_MODE_CANARY)
    error = await refused(start_trial(service, models_pb2.TRIAL_MODE_SHADOW))
    assert "is on the trial" in str(error)
    request = models_pb2.StopTrialRequest(name="blob", trial_id=trial.trial_id)
    stopped = (await service.models.StopTrial(request)).trial
    assert (stopped.state, stopped.verdict) == (models_pb2.TRIAL_STATE_STOPPED, "stopped by admin")
    await door.until(lambda w: _received(w) == {"door": ("blob@1", "")})

    short = await start_trial(service, models_pb2.TRIAL_MODE_SHADOW, time_limit_s=0.5)
    assert "its time was over" in (await trial_when_ended(service, short.trial_id)).verdict

    third = await start_trial(service, models_pb2.TRIAL_MODE_CANARY)
    await promote(service, "blob", 2)
    assert "blob@2 was promoted" in (await trial_when_ended(service, third.trial_id)).verdict
    await door.until(lambda w: _received(w) == {"door": ("blob@2", "")})
    listed = await service.models.ListTrials(models_pb2.ListTrialsRequest(name="blob"))
    assert [each.trial_id for each in listed.trials] == [third.trial_id, short.trial_id, trial.trial_id]
    calls = ["PromoteModel", "StartTrial", "StartTrial", "StopTrial", "StartTrial", "StartTrial", "PromoteModel"]
    outcomes = ["OK", "OK", error.code, *["OK"] * 4]
    assert audited_calls(control_dsn, "models") == list(zip(calls, outcomes, strict=True))


@pytest.fixture
async def two_models(
    eager_upkeep: None, session_triton: FreshTriton, control_dsn: str, start_control: Callable
) -> Service:
    """A service with the models `first` and `net`; Triton serves the versions 1 and 2 of both."""

    def write(folder: Path) -> Path:
        repository = write_blob_versions(folder, None, None)
        shutil.copytree(repository / "blob", repository / "first")
        (repository / "blob").rename(repository / "net")
        for name in ("first", "net"):
            config = repository / name / "config.pbtxt"
            config.write_text(config.read_text().replace('"blob"', f'"{name}"'))
        return repository

    triton = await asyncio.to_thread(session_triton.begin, write)
    async with Connection(triton.grpc) as connection:
        for name in ("first", "net"):
            await connection.load(name)
    control = await start_control(control_dsn, model_repository=triton.repository, triton_address=triton.grpc)
    return Service(control, triton, triton.repository)


async def _drop(service: Service, name: str) -> None:
    """Have Triton serve version 1 alone, as a worker does that read the configuration before version 2 was deployed."""
    async with Connection(service.triton.grpc) as connection:
        config = await connection.model_config(name)
        assert config is not None
        await connection.load(name, {**config, "version_policy": {"specific": {"versions": ["1"]}}})


async def test_versions_that_somebody_has_triton_drop_are_served_again(
    two_models: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three faults.

    - A load with the versions from before a deployment dropped the new one, and no worker restored it.
    - A model that could not be corrected ended each check silently: models later in the alphabet were never corrected.
    - After Triton refused a version once, the service did not try again until its next start.
    """
    service, second = two_models, two_models.repository / "first" / "2"
    whole = (second / "model.onnx").read_bytes()
    await asyncio.to_thread(shutil.rmtree, second)
    await _drop(service, "first")
    await _drop(service, "net")

    async def is_back(name: str) -> bool:
        async with Connection(service.triton.grpc) as connection:
            in_force = await connection.model_config(name)
        named = named_versions(in_force) if in_force is not None else None
        return named == {1, 2} and await _serves(service, name, (1, 2))

    await eventually(lambda: is_back("net"))
    said = _failures(capsys)
    assert said
    assert all("no file of first@2" in line for line in said)

    await asyncio.to_thread(second.mkdir)
    await asyncio.to_thread((second / "model.onnx").write_bytes, b"half a mod")
    await eventually(lambda: _refused_by_triton(capsys))
    await asyncio.to_thread((second / "model.onnx").write_bytes, whole)
    await eventually(lambda: is_back("first"))


def _failures(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if "model.correction_failed" in line]


async def _refused_by_triton(capsys: pytest.CaptureFixture[str]) -> bool:
    return any("no file of first@2" not in line for line in _failures(capsys))


# Restarts -----------------------------------------------------------------------------------------------------------


async def test_a_repository_that_was_lost_is_filled_from_the_object_store(
    service: Service, start_control: Callable, control_dsn: str, nats_server: NatsServer
) -> None:
    data = variant("one")
    await service.deploy("net", data, promote=True)
    damaged = await service.deploy("net", variant("two"))
    assert damaged.version is not None
    await asyncio.to_thread((service.repository / "net" / "1" / "model.onnx").unlink)
    await asyncio.to_thread((service.repository / "net" / "2" / "model.onnx").write_bytes, b"half a mod")
    await start_control(
        control_dsn,
        nats_url=nats_server.url,
        model_repository=service.repository,
        triton_address=service.triton.grpc,
        model_store="nats",
    )

    async def back() -> bool:
        files = service.files()
        return files.get("net/1/model.onnx") == data and files.get("net/2/model.onnx") == variant("two")

    await eventually(back)


async def test_a_file_that_cannot_be_had_back_ends_no_service(
    service: Service, start_control: Callable, control_dsn: str
) -> None:
    """The task that looked for the file died, and ended auth, cameras and workers."""
    await service.deploy("net", variant("one"), promote=True)
    await asyncio.to_thread((service.repository / "net" / "1" / "model.onnx").unlink)
    control = await start_control(
        control_dsn, model_repository=service.repository, triton_address=service.triton.grpc, model_store="repository"
    )
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(control.plane.failed(), 2.0)
    listed = await control.caller("admin").models.ListModels(models_pb2.ListModelsRequest())
    assert {model.name for model in listed.models} == {"blob", "net"}


async def test_what_is_no_model_of_ours_is_left_alone_in_the_repository(
    repository: Path, start_control: Callable, control_dsn: str
) -> None:
    """One such folder prevented the start of every service."""
    for name, config in (
        ("foreign", 'backend: "onnxruntime"'),
        ("empty", (repository / "blob" / "config.pbtxt").read_text()),
    ):
        (repository / name).mkdir()
        (repository / name / "config.pbtxt").write_text(config)
    (repository / "foreign" / "1").mkdir()
    (repository / "foreign" / "1" / "model.onnx").write_bytes(b"x")
    control = await start_control(control_dsn, model_repository=repository)
    listed = await control.caller("admin").models.ListModels(models_pb2.ListModelsRequest())
    assert [model.name for model in listed.models] == ["blob"]
    assert (repository / "foreign" / "1" / "model.onnx").is_file()


async def test_a_folder_whose_number_meant_another_model_is_not_taken_in(
    service: Service, start_control: Callable, control_dsn: str, tmp_path: Path
) -> None:
    """Otherwise the counts of net@1 would seem to come from another model."""
    await service.deploy("net", variant("one"))
    lost = tmp_path / "lost"
    await asyncio.to_thread(shutil.copytree, service.repository / "net", lost)
    await service.models.DeleteModel(models_pb2.DeleteModelRequest(name="net"))
    await asyncio.to_thread(shutil.copytree, lost, service.repository / "net")
    other = service.repository / "net" / "1" / "model.onnx"
    await asyncio.to_thread(other.write_bytes, variant("another"))
    assert await _names_after_start(start_control, control_dsn, service) == ["blob"]
    await asyncio.to_thread(other.write_bytes, variant("one"))
    assert await _names_after_start(start_control, control_dsn, service) == ["blob", "net"]


async def test_a_file_that_is_overwritten_is_not_taken_for_what_had_its_number(
    repository: Path, start_control: Callable, control_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the next start blob@1 had other content. Only a model that comes with a release may change."""
    await asyncio.to_thread(shutil.copytree, repository / "blob", repository / "demo_detector")
    started = Service(await start_control(control_dsn, model_repository=repository), None, repository)
    before = await _digests(started)
    for name in before:
        await asyncio.to_thread((repository / name / "1" / "model.onnx").write_bytes, variant("another"))
    again = Service(await start_control(control_dsn, model_repository=repository), None, repository)
    another = hashlib.sha256(variant("another")).hexdigest()
    assert await _digests(again) == {"blob": before["blob"], "demo_detector": another}
    (said,) = (line for line in capsys.readouterr().out.splitlines() if "model.number_reused" in line)
    assert "countline models deploy FILE --name blob" in said


async def _digests(service: Service) -> dict[str, str]:
    """Model → digest of its only version."""
    listed = await service.models.ListModels(models_pb2.ListModelsRequest())
    return {model.name: model.versions[0].digest for model in listed.models}


async def _names_after_start(start_control: Callable, control_dsn: str, service: Service) -> list[str]:
    control = await start_control(control_dsn, model_repository=service.repository, triton_address=service.triton.grpc)
    listed = await control.caller("admin").models.ListModels(models_pb2.ListModelsRequest())
    return [model.name for model in listed.models]


async def test_the_default_model_is_not_deleted(service: Service) -> None:
    error = await refused(service.models.DeleteModel(models_pb2.DeleteModelRequest(name="blob")))
    assert "cameras that name none" in str(error)
    assert await service.states("blob") == {1: "live"}


async def test_a_model_that_is_taken_in_keeps_its_tuning_its_target_and_its_backend(
    repository: Path, start_control: Callable, control_dsn: str
) -> None:
    """Otherwise its first change would store it as an untuned model for ONNX Runtime on CPUs."""
    folder = ModelFolder(repository)
    plans = shutil.copytree(repository / "blob", repository / "plans") / "1"
    await asyncio.to_thread((plans / "model.onnx").rename, plans / "model.plan")
    contract = folder.find("blob").contract
    folder.serve("plans", [1], contract, Tuning(4, 500, 2), ModelTarget.GPU, ModelBackend.TENSORRT)
    control = await start_control(control_dsn, model_repository=repository)
    found = Service(control, None, repository)
    tuning = models_pb2.ModelTuning(max_batch_size=4, max_queue_delay_us=500, instances=2)
    assert (await found.show("plans")).tuning == tuning
    with pytest.raises(CountlineError, match="run by tensorrt"):
        await found.deploy("plans", variant("two"))
    before = await asyncio.to_thread((repository / "plans" / "config.pbtxt").read_text)
    models = control.plane._models._lifecycle
    stored = await models._database.read(lambda connection: store.get_model(connection, "plans"))
    await models._repository.write_config(stored)
    assert await asyncio.to_thread((repository / "plans" / "config.pbtxt").read_text) == before


async def test_tuning_is_written_and_loaded(service: Service, control_dsn: str) -> None:
    tuning = models_pb2.ModelTuning(max_batch_size=4, max_queue_delay_us=500, instances=1)
    request = models_pb2.TuneModelRequest(name="blob", tuning=tuning)
    assert (await service.models.TuneModel(request)).model.tuning == tuning
    async with Connection(service.triton.grpc) as connection:
        config = await connection.model_config("blob")
    assert config is not None
    assert config["max_batch_size"] == 4
    assert config["instance_group"][0]["count"] == 1
    bad = models_pb2.TuneModelRequest(name="blob", tuning=models_pb2.ModelTuning(instances=10_000))
    assert "tuning" in str(await refused(service.models.TuneModel(bad)))
    assert audited_calls(control_dsn, "models") == [("TuneModel", "OK"), ("TuneModel", "INVALID_ARGUMENT")]


@pytest.fixture
async def tuned_in_vain(second_version: None, service: Service) -> AsyncIterator[models_pb2.TuneModelRequest]:
    """A tuning that fails: afterwards Triton, the repository and the database are as before."""
    config = service.repository / "blob" / "config.pbtxt"
    models = service.control.plane._models._lifecycle
    stored = await models._database.read(lambda connection: store.get_model(connection, "blob"))
    await models._repository.refresh(stored)  # writes the configuration as the service does
    async with Connection(service.triton.grpc) as connection:
        written, in_force = await asyncio.to_thread(config.read_text), await connection.model_config("blob")
        tuning = models_pb2.ModelTuning(max_batch_size=4, max_queue_delay_us=500, instances=1)
        yield models_pb2.TuneModelRequest(name="blob", tuning=tuning)

        async def is_as_before() -> bool:
            found = await connection.model_config("blob"), await asyncio.to_thread(config.read_text)
            return found == (in_force, written)

        await eventually(is_as_before)
        assert (await service.show("blob")).tuning == models_pb2.ModelTuning()


async def test_a_tuning_whose_client_hangs_up_is_taken_back_in_triton_too(
    service: Service, tuned_in_vain: models_pb2.TuneModelRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration file was restored, but Triton kept the tuned configuration."""
    repository = service.control.plane._models._lifecycle._repository
    refresh, is_loaded = repository.refresh, asyncio.Event()

    async def loads_and_waits(model: StoredModel) -> None:
        await refresh(model)
        if model.tuning.max_batch_size == tuned_in_vain.tuning.max_batch_size:
            is_loaded.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(repository, "refresh", loads_and_waits)
    call = service.models.TuneModel(tuned_in_vain)
    await asyncio.wait_for(is_loaded.wait(), WAIT_S)
    call.cancel()


async def test_a_tuning_that_cannot_be_written_down_is_taken_back(
    service: Service, tuned_in_vain: models_pb2.TuneModelRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repository and Triton kept it although the database did not have it."""

    async def fails(*_: object) -> None:
        raise UnavailableError("the database does not answer")

    monkeypatch.setattr(store, "set_tuning", fails)
    assert "the database does not answer" in str(await refused(service.models.TuneModel(tuned_in_vain)))
