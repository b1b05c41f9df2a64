"""`view=full`: who counts a camera, with what, and what came of it, as far as the caller may read it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest
from tests.fixtures.analytics.cameras import add_places
from tests.fixtures.analytics.factory import crossing, record
from tests.fixtures.analytics.page import now_records
from tests.fixtures.analytics.stack import Stack, until

from countline.v1 import workers_pb2_grpc
from countline.v1.workers_pb2 import ConnectRequest
from countline_analytics.store.sql import query
from countline_common.access.scopes import Scope
from countline_common.errors import UnavailableError
from countline_common.grpc.authorization import bearer_metadata

ONE = Scope(camera_ids=frozenset({"cam-0"}))
KINDS = {"worker", "model", "counts", "events"}


@pytest.fixture
async def places(stack: Stack) -> Stack:
    """Two sites with cameras."""
    await add_places(stack)
    return stack


@asynccontextmanager
async def working(stack: Stack, worker_id: str = "worker-1") -> AsyncIterator[None]:
    """A worker that takes every camera."""

    async def reports() -> AsyncIterator[ConnectRequest]:
        while True:
            yield ConnectRequest(worker_id=worker_id, instance="a", backend="software", capacity=8, version="1.2")
            await asyncio.sleep(0.5)

    async with grpc.aio.insecure_channel(stack.addresses["workers"]) as channel:
        metadata = bearer_metadata(stack.worker_token(worker_id))
        call = workers_pb2_grpc.WorkerServiceStub(channel).Connect(reports(), metadata=metadata)
        while len((await call.read()).assignments) < 3:
            pass
        yield
        call.cancel()


async def full(stack: Stack, path: str = "cameras", token: str | None = None) -> dict[str, dict]:
    """The details of each camera, by id."""
    status, answer = await stack.call("GET", path, token=token, params={"view": "full"})
    assert status == 200, answer
    shown = answer["data"]["cameras"] if path == "cameras" else [answer["data"]]
    for each in shown:
        each["details"].get("worker", {}).pop("reported_at", None)  # it changes each second
    return {each["camera_id"]: each["details"] for each in shown}


async def test_a_camera_is_shown_with_worker_counts_and_events(places: Stack, scalar) -> None:
    async with working(places):
        old = record(crossing(1000, time.time() - 90_000), camera="cam-0", sequence=99)
        await places.publish(*now_records(4), old)
        await until(lambda: scalar("SELECT last_sequence FROM analytics.ingest_state") == 17)
        shown = await full(places)
        assert set(shown) == {"cam-0", "cam-1", "far-1"}
        for camera_id, details in shown.items():
            worker = details["worker"]
            assert (worker["worker_id"], worker["online"], worker["version"]) == ("worker-1", True, "1.2")
            assert (worker["camera_count"], worker["capacity"]) == (3, 8)
            assert not details.get("missing"), details
            lines = {(each["line_id"], each["in"], each["out"]) for each in details["counts"]}
            counted = 2 if camera_id != "far-1" else 0
            assert lines == {("door", counted, counted), ("gate", counted, counted)}
            assert len(details["events"]) == (5 if counted else 0), "the newest five, none that is older than a day"
            assert {each["camera_id"] for each in details["events"]} <= {camera_id}
        assert await full(places, "cameras/cam-0") == {"cam-0": shown["cam-0"]}
    assert "details" not in await places.get("cameras/cam-0")
    assert "details" not in await places.get("cameras/cam-0", view="basic")
    assert (await places.call("GET", "cameras?view=all"))[0] == 400


async def test_what_the_caller_may_not_read_is_left_out(places: Stack, scalar) -> None:
    async with working(places):
        await places.publish(*now_records(2))
        await until(lambda: scalar("SELECT last_sequence FROM analytics.ingest_state") == 8)
        nothing = await full(places, token=places.token("camera:read"))
        assert [shown_kinds(details) for details in nothing.values()] == [set(), set(), set()]
        workers = await full(places, token=places.token("camera:read", "worker:read"))
        assert [shown_kinds(details) for details in workers.values()] == [{"worker"}] * 3
        scoped = await full(places, token=places.scoped_token(ONE))
        assert {name: shown_kinds(details) for name, details in scoped.items()} == {"cam-0": {"counts", "events"}}
        status, _ = await places.call("GET", "cameras/cam-1?view=full", token=places.scoped_token(ONE))
        assert status == 403


def shown_kinds(details: dict) -> set[str]:
    assert not details.get("missing"), "it is not away: the caller may not read it"
    return {kind for kind in KINDS if details.get(kind)}


async def test_a_page_asks_for_each_kind_once(places: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cameras it shows: for each time zone, and not for each camera."""
    asked: list[str] = []
    monkeypatch.setattr("countline_analytics.questions.counts.query", _noting(asked))
    await full(places)
    names = [name for name in asked if name != "known_cameras"]
    assert sorted(names) == ["counts_15m", "coverage", "hand_overs", "latest_crossings"]


def _noting(asked: list[str]):
    def noting(file: str, name: str):
        asked.append(name)
        return query(file, name)

    return noting


async def test_what_cannot_be_read_now_is_named_and_the_rest_is_shown(
    places: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise UnavailableError("the service of workers does not answer")

    monkeypatch.setattr("countline_analytics.api.details.sources.DetailSources.add_workers", away)
    monkeypatch.setattr("countline_analytics.questions.counts.CountQueries.latest_crossings", away)
    shown = await full(places)
    assert {tuple(details["missing"]) for details in shown.values()} == {("worker", "events")}
    assert all(details["counts"] for details in shown.values())
