"""The users of NATS on a real server: each may do what its part needs, and a worker nothing beyond that."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import nats
import nats.errors
import nats.js.errors
import pytest
import structlog
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, StreamConfig
from tests.fixtures.analytics.stack import until
from tests.fixtures.nats import NatsServer

from countline_common.data import bus
from countline_common.data.administration_feed import open_bucket, reported_bases
from countline_common.data.bus_client import BusClient, BusJetStream, NotPermittedError
from countline_common.data.bus_users import API, CONTROL, INGEST, MODEL_BUCKET, USERS, WORKER
from countline_common.http.health import HealthServer
from countline_common.resilience.vitality import problems

NOT_FOR_WORKERS = (
    "countline.audit.rows.auth",
    "countline.audit.rows.worker",
    "countline.audit.checkpoints.rows",
    "countline.domain.access.ended",
    "countline.domain.camera.deleted",
    "countline.dlq.AUDIT",
    "countline.logs.control",
    "countline.parts.control.x",
    "countline.watch.door",
    "$KV.countline_administration.state",
    "$KV.countline_administration.base.control",
    f"$O.{MODEL_BUCKET}.C.x",
    "$JS.ACK.AUDIT.audit.1.1.1.1.1",
    "$JS.ACK.COUNTS.ingest.1.1.1.1.1",
    "_INBOX_control.x.y",
    "anything",
)
Attempt = Callable[[BusJetStream], Awaitable[object]]
PUSHED = ConsumerConfig(durable_name="x", deliver_subject="countline.audit.rows.auth", ack_policy=AckPolicy.NONE)
FORBIDDEN_REQUESTS: dict[str, Attempt] = {
    "delete a stream": lambda js: js.delete_stream(bus.COUNTS),
    "delete the audit": lambda js: js.delete_stream(bus.AUDIT),
    "purge a stream": lambda js: js.purge_stream(bus.COUNTS),
    "purge the domain events": lambda js: js.purge_stream(bus.DOMAIN),
    "delete a message": lambda js: js.delete_msg(bus.DOMAIN, 1),
    "read a message of the audit": lambda js: js.get_msg(bus.AUDIT, 1),
    "change a stream": lambda js: js.update_stream(StreamConfig(name=bus.COUNTS, subjects=["countline.counts.>"])),
    "make a stream that reads others": lambda js: js.add_stream(StreamConfig(name="MINE", subjects=["mine"])),
    "make a consumer that sends to the audit": lambda js: js.add_consumer(bus.COUNTS, PUSHED),
    "make a consumer": lambda js: js.add_consumer(bus.AUDIT, ConsumerConfig(durable_name="x")),
    "delete the consumer of ingest": lambda js: js.delete_consumer(bus.COUNTS, "ingest"),
    "take counts": lambda js: js.pull_subscribe("countline.counts.>", stream=bus.COUNTS),
}


@asynccontextmanager
async def connected(server: NatsServer, user: str) -> AsyncIterator[BusClient]:
    client = await bus.connect(server.url_of(user), f"test {user}", user=user)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def streams(nats_server: NatsServer) -> NatsServer:
    """A server whose streams the control-plane has made."""
    async with connected(nats_server, CONTROL) as client:
        await bus.ensure_streams(client.jetstream())
        await open_bucket(client.jetstream())
    return nats_server


async def test_only_the_control_plane_makes_streams_and_the_others_wait_for_it(nats_server: NatsServer) -> None:
    for user in (INGEST, API, WORKER):
        async with connected(nats_server, user) as client:
            await bus.ensure_streams(client.jetstream())
            with pytest.raises(nats.js.errors.NotFoundError):
                await client.jetstream().stream_info(bus.COUNTS)
            with pytest.raises(nats.js.errors.BucketNotFoundError):
                await open_bucket(client.jetstream())
            assert f"bus test {user}" not in problems(), "nothing was tried that is not permitted"
    async with connected(nats_server, CONTROL) as client:
        await bus.ensure_streams(client.jetstream())
        await open_bucket(client.jetstream())
    async with connected(nats_server, WORKER) as client:
        await client.jetstream().publish(bus.counts_subject("shop", "door"), b"x", stream=bus.COUNTS)
    assert "Violation" not in nats_server.log


@pytest.mark.parametrize("subject", NOT_FOR_WORKERS)
async def test_a_worker_publishes_nothing_of_other_parts(streams: NatsServer, subject: str) -> None:
    async with connected(streams, "operator") as operator:
        seen: list[str] = []

        async def see(message: nats.aio.msg.Msg) -> None:
            seen.append(message.subject)

        await operator.subscribe(subject, cb=see)
        await operator.flush()
        async with connected(streams, WORKER) as worker:
            await worker.publish(subject, b"forged")
            await until(lambda: _true("bus test worker" in problems()))
            assert f"publish {subject.lower()}" in problems()["bus test worker"]
            began = time.monotonic()
            with pytest.raises(NotPermittedError, match=r"may not|not permit"):
                await worker.request(subject, b"forged", timeout=30.0)
            assert time.monotonic() - began < 10, "the refusal ended it, and not its time limit"
            await worker.flush()
        await operator.flush()
        assert seen == []
    assert "bus test worker" not in problems()


async def test_a_worker_neither_changes_nor_reads_streams_of_others(streams: NatsServer) -> None:
    async with connected(streams, "operator") as operator:
        js = operator.jetstream()
        await js.publish(bus.counts_subject("shop", "door"), b"count")
        await js.publish(bus.domain_subject("access", "ended"), b"event")
        await js.publish(bus.audit_subject("auth"), b"row")
        before = {each.config.name: each.state for each in await js.streams_info()}
        async with connected(streams, WORKER) as worker:
            for name, attempt in FORBIDDEN_REQUESTS.items():
                with pytest.raises(NotPermittedError):
                    await attempt(worker.jetstream())
                assert name
        assert {each.config.name: each.state for each in await js.streams_info()} == before


@pytest.mark.parametrize(
    "subject",
    ["countline.audit.>", "countline.domain.>", "countline.counts.>", "_INBOX_control.>", "_INBOX.>", "$KV.>", ">"],
)
async def test_a_worker_hears_nothing_of_other_parts(streams: NatsServer, subject: str) -> None:
    async with connected(streams, WORKER) as worker:
        await worker.subscribe(subject)
        await until(lambda: _true("bus test worker" in problems()))
        assert f"subscription {subject.lower()}" in problems()["bus test worker"]


async def test_a_refusal_is_logged_once_a_connection(streams: NatsServer) -> None:
    with structlog.testing.capture_logs() as lines:
        async with connected(streams, WORKER) as worker:
            for _ in range(3):
                with pytest.raises(NotPermittedError):
                    await worker.jetstream().publish("countline.domain.user.created", b"x", timeout=10)
    (line,) = [line for line in lines if line["event"] == "bus.not_permitted"]
    assert (line["action"], line["subject"]) == ("publish", "countline.domain.user.created")
    assert "docs/nats.md" in line["hint"]


async def test_a_refusal_shows_in_the_health_of_the_process_until_the_next_connection(streams: NatsServer) -> None:
    async def health(path: str) -> tuple[int, dict[str, str]]:
        async with session.get(f"http://127.0.0.1:{server.port}/{path}") as answer:
            return answer.status, (await answer.json())["degraded"]

    async with (
        HealthServer("127.0.0.1:0", {}) as server,
        aiohttp.ClientSession() as session,
        connected(streams, WORKER) as worker,
    ):
        assert await health("healthz") == (200, {})
        with pytest.raises(NotPermittedError):
            await worker.jetstream().publish("countline.domain.user.created", b"x", timeout=10)
        for path in ("healthz", "readyz"):
            status, degraded = await health(path)
            assert status == 200, "a restart does not cure it"
            assert "publish countline.domain.user.created" in degraded["bus test worker"]
        await streams.kill()
        await streams.start()
        await until(lambda: _true("bus test worker" not in problems()))
        assert await health("healthz") == (200, {})


async def test_what_a_part_may_do_is_asked_of_nats(nats_server: NatsServer) -> None:
    async with connected(nats_server, WORKER) as client:
        assert await client.may_publish("countline.counts.shop.door")
        assert not await client.may_publish("countline.counts.shop")
        assert not await client.may_publish("countline.audit.rows.auth")
        assert not await client.may_publish("$JS.API.STREAM.CREATE.COUNTS")
    async with connected(nats_server, "up") as client:
        assert await client.may_publish("anything"), "it may not even ask"
    async with connected(nats_server, "operator") as client:
        assert await client.may_publish("$JS.API.STREAM.DELETE.AUDIT")


async def test_a_server_that_does_not_answer_in_time_permits_nothing(nats_server: NatsServer) -> None:
    """It was taken for a yes: under load a part tried to make a stream that it may not make, and was unhealthy."""
    async with connected(nats_server, API) as client:
        with nats_server.stalled(), pytest.raises(TimeoutError):
            await client.may_publish("$JS.API.STREAM.CREATE.COUNTS")


async def test_each_user_publishes_on_the_subjects_of_its_part(streams: NatsServer) -> None:
    own = {
        CONTROL: ("countline.domain.user.created", "countline.audit.rows.auth", "countline.audit.checkpoints.rows"),
        INGEST: ("countline.dlq.COUNTS", "countline.logs.ingest", "countline.parts.ingest.x"),
        API: ("countline.audit.rows.analytics", "countline.logs.api"),
        WORKER: ("countline.counts.a.b", "countline.status.a", "countline.trials.t.a", "countline.parts.worker.x"),
    }
    for user, subjects in own.items():
        async with connected(streams, user) as client:
            for subject in subjects:
                assert (await client.jetstream().publish(subject, b"x")).seq
            bucket = await open_bucket(client.jetstream())
            await bucket.put(f"base.{user}", json.dumps({}).encode())
            assert (await bucket.get(f"base.{user}")).value == b"{}"
    assert "Violation" not in streams.log


@pytest.mark.parametrize("written", [b"[]", b"not JSON", b"[" * 100_000, b"\xff", b'{"registration": "open"}'])
async def test_what_a_worker_reports_as_its_settings_hides_no_other_values(streams: NatsServer, written: bytes) -> None:
    """Its value of `registration` was shown as that of the environment; other texts broke the list of settings."""
    async with connected(streams, INGEST) as ingest, connected(streams, WORKER) as worker:
        await (await open_bucket(ingest.jetstream())).put("base.ingest", b'{"retention.crossings_days": "30"}')
        await (await open_bucket(worker.jetstream())).put("base.worker", written)
    async with connected(streams, CONTROL) as control:
        assert await reported_bases(control.jetstream()) == {"retention.crossings_days": "30"}
        async with connected(streams, WORKER) as worker:
            await (await open_bucket(worker.jetstream())).put("base.worker", b'{"log_level.worker": "debug"}')
        assert (await reported_bases(control.jetstream()))["log_level.worker"] == "debug"


async def test_an_answer_of_nats_to_a_worker_is_no_request_of_another_part(streams: NatsServer) -> None:
    """NATS sends an answer wherever the request says. Without `strict`, the receipt of a count purged COUNTS."""
    async with connected(streams, "operator") as operator, connected(streams, WORKER) as worker:
        js = operator.jetstream()
        await js.publish(bus.domain_subject("access", "ended"), b"event")
        for stream in (bus.COUNTS, bus.DOMAIN):
            await worker.publish(bus.counts_subject("shop", "door"), b"count", reply=f"$JS.API.STREAM.PURGE.{stream}")
            await worker.publish(bus.counts_subject("shop", "door"), b"count", reply=f"$JS.API.STREAM.DELETE.{stream}")
        await worker.flush()
        await until(lambda: _true(streams.log.count("Invalid JetStream request") >= 2))
        kept = {each.config.name: each.state.messages for each in await js.streams_info()}
        assert (kept[bus.COUNTS], kept[bus.DOMAIN]) == (4, 1)


async def test_a_flood_pushes_no_checkpoint_out(nats_server: NatsServer) -> None:
    """The stream of an earlier release dropped its oldest messages; a worker could push the true checkpoints out."""
    async with connected(nats_server, "operator") as operator, connected(nats_server, WORKER) as worker:
        js = operator.jetstream()
        (config,) = [each for each in bus.stream_configs() if each.name == bus.AUDIT_CHECKPOINTS]
        await js.add_stream(config.evolve(discard=DiscardPolicy.OLD, max_bytes=2000))
        await bus.ensure_streams(js)
        first = await js.publish(bus.checkpoint_subject(purge=False), b"the true checkpoint")
        for _ in range(50):
            await worker.publish(
                bus.counts_subject("shop", "door"), b"count", reply=bus.checkpoint_subject(purge=False)
            )
        await worker.flush()
        await until(lambda: _is_full(js))
        assert (await js.get_msg(bus.AUDIT_CHECKPOINTS, first.seq)).data == b"the true checkpoint"


async def _is_full(js: BusJetStream) -> bool:
    return (await js.stream_info(bus.AUDIT_CHECKPOINTS)).state.messages > 10


async def test_one_user_who_may_do_everything_is_enough_for_a_nats_of_ones_own(nats_server: NatsServer) -> None:
    for user in USERS:
        client = await bus.connect(nats_server.url, "own", user=user.name)
        await bus.ensure_streams(client.jetstream())
        assert (await client.jetstream().publish(bus.counts_subject("shop", "door"), b"x")).stream == bus.COUNTS
        await client.close()


async def _true(value: bool) -> bool:
    await asyncio.sleep(0)
    return value
