"""Two copies of the control-plane over one PostgreSQL and one NATS: exactly one of them schedules."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import psycopg
import pytest
from aiohttp import ClientSession
from tests.fixtures.control.audit import written_rows
from tests.fixtures.control.fake_workers import FakeWorker, create_camera, eventually, status_of, working
from tests.fixtures.forked.command import COUNTLINE
from tests.fixtures.local.ports import free_ports
from tests.fixtures.nats import NatsServer

from countline.v1 import cameras_pb2, workers_pb2
from countline_common.grpc import tokens
from countline_control.database import Database
from countline_control.settings import ControlSettings
from countline_control.workers.lease import FREE_AFTER_S, LeaseLostError, LeaseWatch, SchedulingLease
from countline_control.workers.lease_store import StoredLease

from .conftest import ADMIN_PASSWORD, MASTER_KEY, Control

TAKEN_OVER_S = 10.0
SERVICES = ("auth", "cameras", "models", "workers")


class Copy:
    """One process of the control-plane with all services."""

    def __init__(self, dsn: str, keys: tuple[Path, Path], nats_url: str, folder: Path) -> None:
        *ports, self.health = free_ports(5)
        self.addresses = {name: f"127.0.0.1:{port}" for name, port in zip(SERVICES, ports, strict=True)}
        folder.mkdir()
        password = folder / "admin-password"
        password.write_text(ADMIN_PASSWORD)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COUNTLINE_")},
            "HOME": str(folder),
            "COUNTLINE_AUTH_DSN": dsn,
            "COUNTLINE_CAMERAS_DSN": dsn,
            "COUNTLINE_NATS_URL": nats_url,
            "COUNTLINE_MASTER_KEY": MASTER_KEY,
            "COUNTLINE_TOKEN_PRIVATE_KEY_FILE": str(keys[0]),
            "COUNTLINE_TOKEN_PUBLIC_KEY_FILE": str(keys[1]),
            "COUNTLINE_ADMIN_PASSWORD_FILE": str(password),
            "COUNTLINE_MODEL_REPOSITORY": str(folder / "repository"),
            "COUNTLINE_MODEL_WORK": str(folder / "work"),
            "COUNTLINE_MODEL_STORE": "repository",
            "COUNTLINE_HEALTH_ADDRESS": f"127.0.0.1:{self.health}",
            **{f"COUNTLINE_{name.upper()}_ADDRESS": address for name, address in self.addresses.items()},
        }
        self.signer = tokens.TokenSigner.from_file(keys[0])
        self._log = folder / "log"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(COUNTLINE), "serve", env=self.environment, stdout=log, stderr=log
            )

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    async def end(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            await asyncio.wait_for(self.process.wait(), 20)

    def log(self) -> str:
        return self._log.read_text()

    async def health_says(self) -> str:
        """Who schedules, as `/readyz` says."""
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{self.health}/readyz") as answer:
            assert answer.status == 200, await answer.text()
            return (await answer.json())["facts"]["schedule"]

    @asynccontextmanager
    async def reached(self) -> AsyncIterator[Control]:
        """A `Control` as in the other tests."""
        async with AsyncExitStack() as stack:
            control = Control(plane=None, signer=self.signer, settings=ControlSettings())
            for name, address in self.addresses.items():
                control.channels[name] = await stack.enter_async_context(grpc.aio.insecure_channel(address))
                async with asyncio.timeout(60):
                    await control.channels[name].channel_ready()
            yield control


class Two:
    """Two copies; `holder` schedules."""

    def __init__(self, holder: Copy, other: Copy, at_holder: Control, at_other: Control) -> None:
        self.holder, self.other = holder, other
        self.at_holder, self.at_other = at_holder, at_other


@pytest.fixture
async def two(control_dsn: str, keys, nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Two]:
    """The first copy schedules: it started first."""
    copies = [Copy(control_dsn, keys, nats_server.url, tmp_path / name) for name in ("one", "two")]
    async with AsyncExitStack() as stack:
        reached = []
        for copy in copies:
            await copy.start()
            stack.push_async_callback(copy.end)
            control = await stack.enter_async_context(copy.reached())
            await eventually(lambda control=control: _answers(control))
            reached.append(control)
        yield Two(*copies, *reached)


async def _answers(control: Control) -> bool:
    try:
        await scheduler(control)
    except grpc.aio.AioRpcError:
        return False
    return True


async def scheduler(control: Control) -> workers_pb2.Scheduler:
    return (await control.caller("admin").workers.ListWorkers(workers_pb2.ListWorkersRequest())).scheduler


async def held_cameras(control: Control) -> dict[str, list[str]]:
    """The cameras of each worker that is online."""
    answer = await control.caller("admin").workers.ListWorkers(workers_pb2.ListWorkersRequest())
    online = workers_pb2.WORKER_STATE_ONLINE
    return {each.worker_id: list(each.camera_ids) for each in answer.workers if each.state == online}


def stored(dsn: str) -> tuple[tuple, list[tuple]]:
    """The lease, and the assignments with the transactions that wrote them."""
    with psycopg.connect(dsn) as connection:
        lease = connection.execute("SELECT number, address FROM workers.lease").fetchone()
        held = connection.execute(
            "SELECT camera_id, worker_id, instance, epoch, xmin FROM workers.assignments ORDER BY camera_id"
        )
        return lease, held.fetchall()


async def test_each_camera_has_one_worker_whichever_copy_workers_and_people_reach(two: Two, control_dsn: str) -> None:
    async with working(two.at_holder, "worker-1") as one, working(two.at_other, "worker-2") as other:
        for i, control in enumerate((two.at_holder, two.at_other) * 2):
            await create_camera(control, f"c{i}")
        await one.until(lambda w: len(w.epochs) == 2)
        await other.until(lambda w: len(w.epochs) == 2)
        assert sorted({**one.epochs, **other.epochs}) == ["c0", "c1", "c2", "c3"]
        for control in (two.at_holder, two.at_other):
            assert await held_cameras(control) == {"worker-1": sorted(one.epochs), "worker-2": sorted(other.epochs)}
            who = await scheduler(control)
            assert (who.address, who.number) == (two.holder.addresses["workers"], 1)
            for camera_id in ("c0", "c1", "c2", "c3"):
                await eventually(lambda control=control, c=camera_id: _runs(control, c))
        assert await two.holder.health_says() == "this copy schedules (number 1)"
        assert await two.other.health_says() == f"{two.holder.addresses['workers']} schedules (number 1)"
        await other.leave()
        await one.until(lambda w: len(w.epochs) == 4)  # a goodbye reaches the holder through the other copy


async def _runs(control: Control, camera_id: str) -> bool:
    return (await status_of(control, camera_id)).state == cameras_pb2.OBSERVED_STATE_RUNNING


async def test_the_other_copy_schedules_within_ten_seconds_of_a_killed_one(two: Two) -> None:
    await create_camera(two.at_holder, "door")
    async with working(two.at_holder, "worker-1") as worker, working(two.at_other, "worker-2") as forwarded:
        await eventually(lambda: _has(two.at_other, "door"))
        epochs = {**worker.epochs, **forwarded.epochs}
        two.holder.send(signal.SIGKILL)
        killed_at = time.monotonic()
        async with connected_again(two.at_other, "worker-1") as again, connected_again(two.at_other, "worker-2") as too:
            assert time.monotonic() - killed_at < TAKEN_OVER_S
            assert {**again.epochs, **too.epochs} == epochs, "a camera stays where it is counted"
            await create_camera(two.at_other, "gate")
            await eventually(lambda: _has(two.at_other, "gate"))
            assert time.monotonic() - killed_at < TAKEN_OVER_S
        assert forwarded.error is not None, "the stream through the other copy ended with the holder"
    who = await scheduler(two.at_other)
    assert (who.address, who.number) == (two.other.addresses["workers"], 2)


async def _has(control: Control, camera_id: str) -> bool:
    return any(camera_id in held for held in (await held_cameras(control)).values())


@asynccontextmanager
async def connected_again(control: Control, worker_id: str) -> AsyncIterator[FakeWorker]:
    """The same worker process, which tries until a copy takes its stream, as the agent of a worker does."""
    while True:
        worker = FakeWorker(control, worker_id, "a", 4)
        try:
            await worker.until(lambda w: bool(w.received))
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.1)
            continue
        try:
            yield worker
        finally:
            await worker.vanish()
        return


async def test_a_paused_copy_writes_nothing_after_another_has_taken_over(two: Two, control_dsn: str) -> None:
    for camera_id in ("c0", "c1"):
        await create_camera(two.at_holder, camera_id)
    async with working(two.at_holder, "worker-1", capacity=1), working(two.at_other, "worker-2", capacity=1):
        await eventually(lambda: _has(two.at_other, "c1"))
        two.holder.send(signal.SIGSTOP)
        await eventually(lambda: _number(two.at_other, 2))
    async with working(two.at_other, "worker-3", capacity=2) as worker:
        await worker.until(lambda w: len(w.epochs) == 2)  # the leases of the others have run out
        before = stored(control_dsn)
        two.holder.send(signal.SIGCONT)
        # It finds out by a write that PostgreSQL refuses.
        await eventually(lambda: _logged(two.holder, "schedule.lease_lost"))
        await eventually(lambda: _number(two.at_holder, 2))
        assert stored(control_dsn) == before
        assert before[0] == (2, two.other.addresses["workers"])
        async with working(two.at_holder, "worker-4") as late:
            assert late.epochs == {}
            assert sorted(worker.epochs) == ["c0", "c1"]
        assert await two.holder.health_says() == f"{two.other.addresses['workers']} schedules (number 2)"


async def _number(control: Control, number: int) -> bool:
    try:
        return (await scheduler(control)).number == number
    except grpc.aio.AioRpcError:
        return False


async def _logged(copy: Copy, event: str) -> bool:
    return event in copy.log()


async def test_a_copy_that_stops_in_order_is_followed_at_once_and_leads_no_more_when_it_is_back(two: Two) -> None:
    await two.holder.end()
    stopped_at = time.monotonic()
    await eventually(lambda: _number(two.at_other, 2))
    assert time.monotonic() - stopped_at < FREE_AFTER_S
    await two.holder.start()
    await eventually(lambda: _answers(two.at_holder))
    assert (await scheduler(two.at_holder)).number == 2


async def test_an_order_through_the_other_copy_leaves_one_row_and_outlives_the_killed_holder(
    two: Two, control_dsn: str
) -> None:
    for camera_id in ("door", "gate", "hall"):
        await create_camera(two.at_holder, camera_id)
    async with working(two.at_other, "worker-1") as busy:
        await busy.until(lambda w: len(w.epochs) == 3)
        async with working(two.at_holder, "worker-2", capacity=1) as idle:
            order = workers_pb2.DrainWorkerRequest(worker_id="worker-1", at_once=True, reason="new disk")
            await two.at_other.caller("admin").workers.DrainWorker(order)
            await idle.until(lambda w: len(w.epochs) == 1)
            rows = [row for row in written_rows(control_dsn, ("workers",)) if row.method.endswith("DrainWorker")]
            assert [(row.resource, row.outcome, row.actor.name) for row in rows] == [
                ("workers/worker-1", "OK", "admin")
            ]
            two.holder.send(signal.SIGKILL)
            # `worker-2` has room for all when it connects again, so the drain goes on in the other copy.
            async with connected_again(two.at_other, "worker-1"), connected_again(two.at_other, "worker-2") as again:
                await again.until(lambda w: len(w.epochs) == 3)
                await eventually(lambda: _is_drained(two.at_other, "worker-1"))


async def _is_drained(control: Control, worker_id: str) -> bool:
    request = workers_pb2.GetWorkerRequest(worker_id=worker_id)
    worker = (await control.caller("viewer").workers.GetWorker(request)).worker
    return worker.cordon.state == workers_pb2.CORDON_STATE_DRAINED


async def test_a_refused_order_through_the_other_copy_leaves_one_row(two: Two, control_dsn: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await two.at_other.caller("admin").workers.CordonWorker(workers_pb2.CordonWorkerRequest(worker_id="ghost"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    rows = written_rows(control_dsn, ("workers",))
    assert [(row.resource, row.outcome) for row in rows] == [("workers/ghost", "NOT_FOUND")]


async def test_a_write_under_a_stale_number_is_refused_by_the_database(control_dsn: str) -> None:
    """Even if its copy believes that it holds the lease: its clock stands still here."""
    database = Database(control_dsn)
    old = SchedulingLease(database, lambda: "127.0.0.1:1", clock=lambda: 0.0)
    await old._look()
    assert (old.number, old.is_certain) == (1, True)
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        connection.execute("UPDATE workers.lease SET number = 2, address = '127.0.0.1:2'")
    assert old.is_certain
    insert = "INSERT INTO workers.workers VALUES ('w', 'i', 'b', 1, 'v', now(), now())"
    with pytest.raises(LeaseLostError):
        async with old.begin(1) as connection:
            await connection.exec_driver_sql(insert)
    assert (old.number, old.is_certain) == (0, False)
    with psycopg.connect(control_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM workers.workers").fetchone() == (0,)
    await database.close()


async def test_a_copy_does_not_take_the_lease_while_a_write_of_the_holder_is_open(control_dsn: str) -> None:
    database = Database(control_dsn)
    old = SchedulingLease(database, lambda: "127.0.0.1:1")
    await old._look()
    now = [0.0]
    new = SchedulingLease(database, lambda: "127.0.0.1:2", clock=lambda: now[0])
    await new._look()
    now[0] = 2 * FREE_AFTER_S
    async with old.begin(1):
        taking = asyncio.create_task(new._look())
        await eventually(lambda: _waits_for_a_lock(control_dsn))
        assert not taking.done()
    await taking
    assert (new.number, new.seen.number) == (0, 1), "the write renewed the lease"
    await new._look()
    assert new.number == 0, "it watches the new beat from now on"
    await database.close()


async def _waits_for_a_lock(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return connection.execute(query).fetchone() == (1,)


def test_a_lease_is_free_once_it_did_not_change_for_long_on_the_own_clock() -> None:
    def lease(beats: int, *, is_released: bool = False) -> StoredLease:
        return StoredLease(1, beats, "h:1", 0.0, is_released)

    watch = LeaseWatch()
    assert not watch.is_free(lease(1), 100.0)
    assert not watch.is_free(lease(2), 100.0 + FREE_AFTER_S), "it beat in between"
    assert not watch.is_free(lease(2), 99.9 + 2 * FREE_AFTER_S)
    watch.forget()  # the database was away, and so was every beat
    assert not watch.is_free(lease(2), 1000.0)
    assert watch.is_free(lease(2), 1000.0 + FREE_AFTER_S)
    assert LeaseWatch().is_free(lease(7, is_released=True), 0.0)
