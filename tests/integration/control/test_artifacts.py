"""The stores of model files: the NATS object store, S3, a folder; one suite for all of them."""

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.fixtures.nats import NatsServer

from countline_common.data import bus
from countline_common.data.bus_users import CONTROL
from countline_common.errors import InvalidInputError, NotFoundError, UnavailableError
from countline_common.resilience.vitality import forget_problem, problems
from countline_control.models.artifacts import ArtifactStore, NatsArtifacts, open_store
from countline_control.settings import ModelStoreCallLimits
from countline_models.digests import file_digest

CONTENT = os.urandom(700_000)  # several chunks of NATS
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def s3_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a local S3 server."""
    from moto.server import ThreadedMotoServer  # takes half a second to import

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield "s3://models/of/countline"
    server.stop()


@pytest.fixture(params=["nats", "s3", "file"])
async def artifacts(
    request: pytest.FixtureRequest, tmp_path: Path, nats_server: NatsServer
) -> AsyncIterator[ArtifactStore]:
    if request.param == "nats":
        client = await bus.connect(nats_server.url_of(CONTROL), "test", user=CONTROL)
        yield NatsArtifacts(client.jetstream)
        await client.close()
        assert "Violation" not in nats_server.log, "the user of the control-plane may do all this"
        return
    url = request.getfixturevalue("s3_url") if request.param == "s3" else f"file://{tmp_path}/kept"
    store = open_store(url, lambda: None, ModelStoreCallLimits())
    assert store is not None
    yield store


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx"
    file.write_bytes(CONTENT)
    return file


async def test_what_was_put_comes_back_as_it_was(artifacts: ArtifactStore, model: Path, tmp_path: Path) -> None:
    assert not await artifacts.has(DIGEST)
    await artifacts.put(DIGEST, model)
    await artifacts.put(DIGEST, model)  # again changes nothing
    assert await artifacts.has(DIGEST)
    await artifacts.get(DIGEST, tmp_path / "back.onnx")
    assert file_digest(tmp_path / "back.onnx") == DIGEST


async def test_what_is_not_kept_is_said_to_be_missing(artifacts: ArtifactStore, model: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await artifacts.get("0" * 64, tmp_path / "back.onnx")
    await artifacts.delete("0" * 64)  # nothing happens
    await artifacts.put(DIGEST, model)
    await artifacts.delete(DIGEST)
    assert not await artifacts.has(DIGEST)
    with pytest.raises(NotFoundError):
        await artifacts.get(DIGEST, tmp_path / "back.onnx")


async def test_while_nats_is_away_that_is_said(model: Path) -> None:
    with pytest.raises(UnavailableError, match="NATS is away"):
        await NatsArtifacts(lambda: None).put(DIGEST, model)


async def test_a_store_behind_a_wrong_address_is_said_to_fail(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = open_store("s3://bucket/models", lambda: None, ModelStoreCallLimits())
    assert store is not None
    with pytest.raises(UnavailableError, match="bucket/models"):
        await store.put(DIGEST, model)


async def test_a_store_that_failed_again_and_again_is_left_alone(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = open_store("s3://bucket/models", lambda: None, ModelStoreCallLimits(failures=1))
    assert store is not None
    with pytest.raises(UnavailableError, match="bucket/models"):
        await store.put(DIGEST, model)
    with pytest.raises(UnavailableError, match="model_store did not answer 1 times in a row"):
        await store.put(DIGEST, model)
    assert "calls to model_store" in problems()
    forget_problem("calls to model_store")


async def test_a_store_that_answers_with_a_refusal_is_not_away(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/kept", lambda: None, ModelStoreCallLimits(failures=1))
    assert store is not None
    for _ in range(3):
        with pytest.raises(NotFoundError):
            await store.get("0" * 64, tmp_path / "back.onnx")


def test_an_address_that_nobody_knows_is_refused() -> None:
    assert open_store("repository", lambda: None, ModelStoreCallLimits()) is None
    with pytest.raises(InvalidInputError, match="COUNTLINE_MODEL_STORE") as caught:
        open_store("nowhere://x", lambda: None, ModelStoreCallLimits())
    assert "repository" in caught.value.hint
