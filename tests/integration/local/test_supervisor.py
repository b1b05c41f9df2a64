"""The supervisor, with small real processes as parts."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fixtures.local.processes import alive, until

from countline_common.errors import UnavailableError
from countline_local.supervision.guard_client import GuardClient, Launch
from countline_local.supervision.kept_part import DEAD_AFTER, PartFailedError
from countline_local.supervision.part import Part, PartEvent, PartState
from countline_local.supervision.supervisor import Supervisor

ENV = {"PATH": os.environ["PATH"]}
SLEEPER = "touch $NAME.up; sleep 600"


def when_there(path: Path) -> Callable[[], Awaitable[None]]:
    def look() -> None:
        if not path.exists():
            raise UnavailableError(f"{path.name} is not there")

    async def check() -> None:
        look()

    return check


class Bench:
    """Parts, the supervisor over them, and the events that it reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[PartEvent] = []
        self._supervisors: list[Supervisor] = []

    def part(self, name: str, *needs: str, script: str = SLEEPER, start_timeout_s: float = 20.0) -> Part:
        return Part(
            name=name,
            argv=("/bin/sh", "-c", f"cd {self.folder}; {script}"),
            env={**ENV, "NAME": name},
            address=f"address of {name}",
            check=when_there(self.folder / f"{name}.up"),
            waits_for="its file",
            needs=needs,
            prepare=lambda: (self.folder / f"{name}.up").unlink(missing_ok=True),
            start_timeout_s=start_timeout_s,
        )

    async def run(self, *parts: Part) -> Supervisor:
        supervisor = Supervisor(
            parts,
            self.folder / "logs",
            lambda: GuardClient(self.folder / "guard.log"),
            self.events.append,
            first_restart_s=0.1,
        )
        self._supervisors.append(supervisor)
        await supervisor.start()
        return supervisor

    async def stop(self) -> None:
        for supervisor in self._supervisors:
            await supervisor.stop()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    built = Bench(tmp_path)
    yield built
    await built.stop()


def status(supervisor: Supervisor, name: str):
    return next(status for status in supervisor.statuses if status.name == name)


async def test_parts_start_after_what_they_need_is_ready(bench: Bench, tmp_path: Path) -> None:
    slow = bench.part("database", script="sleep 0.4; touch database.up; sleep 600")
    picky = bench.part("service", "database", script="test -e database.up || exit 9; touch service.up; sleep 600")
    supervisor = await bench.run(picky, slow)
    await until(lambda: status(supervisor, "service").detail == "waits for database")
    assert not supervisor.ready
    await supervisor.wait_ready()
    assert supervisor.ready
    assert [s.name for s in supervisor.statuses] == ["service", "database"]
    assert all(s.restarts == 0 and s.pid and alive(s.pid) for s in supervisor.statuses)
    assert bench.events == []


async def test_a_part_that_is_killed_is_started_again_and_counted(bench: Bench) -> None:
    supervisor = await bench.run(bench.part("a"), bench.part("b", "a"))
    await supervisor.wait_ready()
    first = status(supervisor, "a").pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: status(supervisor, "a").state is PartState.FAILED)
    assert status(supervisor, "a").pid is None
    await until(lambda: supervisor.ready)
    assert status(supervisor, "a").restarts == 1
    assert status(supervisor, "a").pid != first
    assert status(supervisor, "b").restarts == 0
    assert [event.text for event in bench.events] == [
        "it was ended by signal 9; it is started again in 0.1 s", "is ready again"
    ]  # fmt: skip


async def test_waits_between_restarts_grow(bench: Bench) -> None:
    supervisor = await bench.run(bench.part("a"))
    await supervisor.wait_ready()
    for _ in range(3):
        restarts = status(supervisor, "a").restarts
        os.kill(status(supervisor, "a").pid, signal.SIGKILL)
        await until(lambda restarts=restarts: status(supervisor, "a").restarts > restarts and supervisor.ready)
    waits = [event.text.rsplit(" in ", 1)[1] for event in bench.events if " in " in event.text]
    assert waits == ["0.1 s", "0.2 s", "0.4 s"]


async def test_a_part_that_cannot_start_is_given_up_with_the_end_of_its_log(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "broken.log").write_text("of another day\n")
    supervisor = await bench.run(bench.part("broken", script="echo the disk is on fire >&2; exit 4"))
    with pytest.raises(PartFailedError) as caught:
        await supervisor.wait_ready()
    assert "broken cannot be started: it ended with exit code 4" in caught.value.message
    assert "the disk is on fire" in caught.value.message
    assert "of another day" not in caught.value.message
    assert str(tmp_path / "logs" / "broken.log") in caught.value.hint
    assert status(supervisor, "broken").restarts == 2


async def test_a_part_that_never_becomes_ready_is_given_up_with_what_it_was_waited_for(bench: Bench) -> None:
    supervisor = await bench.run(bench.part("hangs", script="sleep 600", start_timeout_s=0.3))
    with pytest.raises(PartFailedError, match=r"not ready within [\d.]+ s: hangs.up is not there"):
        await supervisor.wait_ready()


async def test_a_part_that_works_gets_more_time_for_its_first_start(bench: Bench) -> None:
    """On an overloaded machine the first `up` ended with "not ready within 60 s", in the midst of a start."""
    script = "timeout 4 sh -c 'while :; do :; done'; touch $NAME.up; exec sleep 600"
    supervisor = await bench.run(bench.part("slow", script=script, start_timeout_s=3.0))
    await supervisor.wait_ready()
    assert status(supervisor, "slow").ready_after_s > 3
    assert status(supervisor, "slow").restarts == 0


async def test_a_part_that_was_ready_once_is_never_given_up(bench: Bench, tmp_path: Path) -> None:
    script = "test -e once && { echo again >> tries; exit 1; }; touch once a.up; sleep 600"
    supervisor = await bench.run(bench.part("a", script=script))
    await supervisor.wait_ready()
    os.kill(status(supervisor, "a").pid, signal.SIGKILL)
    await until(lambda: status(supervisor, "a").restarts >= 4, timeout_s=20)
    assert not supervisor._failed.done()
    assert status(supervisor, "a").state is not PartState.READY


async def test_a_part_whose_start_takes_too_long_gets_more_time_for_the_next_one(bench: Bench) -> None:
    """On an overloaded machine the control-plane was ended in the midst of five starts in a row."""
    script = "test -e $NAME.slow && sleep 3; touch $NAME.slow $NAME.up; exec sleep 600"
    supervisor = await bench.run(bench.part("slow", script=script, start_timeout_s=2.0))
    await supervisor.wait_ready()
    os.kill(status(supervisor, "slow").pid, signal.SIGKILL)
    await until(lambda: status(supervisor, "slow").restarts >= 2)
    await until(lambda: status(supervisor, "slow").state is PartState.READY)
    assert any("not ready within 2" in event.text for event in bench.events)


async def test_a_part_that_runs_but_stops_answering_is_not_ready(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("countline_local.supervision.kept_part.WATCH_INTERVAL_S", 0.05)
    supervisor = await bench.run(bench.part("a"))
    await supervisor.wait_ready()
    pid = status(supervisor, "a").pid
    (tmp_path / "a.up").unlink()
    await until(lambda: status(supervisor, "a").state is PartState.STARTING)
    assert not supervisor.ready
    (tmp_path / "a.up").touch()
    await until(lambda: supervisor.ready)
    assert (status(supervisor, "a").pid, status(supervisor, "a").restarts) == (pid, 0)


async def test_a_part_that_does_not_answer_at_all_is_started_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event loop that a call blocks answers no health check; the part stayed `starting` for ever."""
    monkeypatch.setattr("countline_local.supervision.kept_part.WATCH_INTERVAL_S", 0.05)
    blocked = replace(bench.part("a"), alive=when_there(tmp_path / "a.up"))
    supervisor = await bench.run(blocked)
    await supervisor.wait_ready()
    pid = status(supervisor, "a").pid
    (tmp_path / "a.up").unlink()
    await until(lambda: status(supervisor, "a").restarts == 1 and supervisor.ready)
    assert status(supervisor, "a").pid != pid
    assert not alive(pid)
    assert any("does not answer its health check" in event.text for event in bench.events)


async def test_a_part_that_waits_for_another_one_is_not_started_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not ready while its database is away, but it answers."""
    monkeypatch.setattr("countline_local.supervision.kept_part.WATCH_INTERVAL_S", 0.02)
    checks: list[bool] = []

    async def answers() -> None:
        checks.append(True)

    supervisor = await bench.run(replace(bench.part("a"), alive=answers))
    await supervisor.wait_ready()
    (tmp_path / "a.up").unlink()
    await until(lambda: len(checks) > 3 * DEAD_AFTER)
    assert status(supervisor, "a").restarts == 0
    assert status(supervisor, "a").state is PartState.STARTING


async def test_when_the_guard_is_killed_all_parts_are_started_again(bench: Bench) -> None:
    supervisor = await bench.run(bench.part("a"), bench.part("b", "a"))
    await supervisor.wait_ready()
    before = [s.pid for s in supervisor.statuses]
    supervisor._guard.client._process.kill()
    await until(lambda: supervisor.ready and all(s.restarts == 1 for s in supervisor.statuses))
    assert not any(alive(pid) for pid in before)


async def test_stopping_ends_parts_before_what_they_need(bench: Bench, tmp_path: Path) -> None:
    script = "trap 'sleep 0.1; echo $NAME >> order; exit 0' TERM; touch $NAME.up; while :; do sleep 0.02; done"
    parts = [bench.part("c", "b", script=script), bench.part("b", "a", script=script), bench.part("a", script=script)]
    supervisor = await bench.run(*parts)
    await supervisor.wait_ready()
    await supervisor.stop()
    assert (tmp_path / "order").read_text().split() == ["c", "b", "a"]
    assert all(s.state is PartState.STOPPED and s.pid is None for s in supervisor.statuses)


async def test_stopping_amid_the_start_leaves_nothing(bench: Bench) -> None:
    supervisor = await bench.run(bench.part("a"), bench.part("b", "a", script="sleep 600"))
    await until(lambda: status(supervisor, "b").pid is not None)
    pids = [s.pid for s in supervisor.statuses]
    started = time.monotonic()
    await supervisor.stop()
    assert time.monotonic() - started < 10
    assert not any(alive(pid) for pid in pids)


async def test_a_process_that_is_no_part_runs_to_its_end(bench: Bench, tmp_path: Path) -> None:
    supervisor = await bench.run(bench.part("a"))
    code = await supervisor.run_once(
        Launch("job", [sys.executable, "-c", "print('done'); raise SystemExit(5)"], ENV, tmp_path, tmp_path / "job.log")
    )
    assert code == 5
    assert (tmp_path / "job.log").read_text() == "done\n"
    assert [s.name for s in supervisor.statuses] == ["a"]


async def test_a_fault_in_a_check_ends_everything_instead_of_being_swallowed(bench: Bench) -> None:
    async def faulty() -> None:
        raise ZeroDivisionError

    part = bench.part("a")
    supervisor = await bench.run(
        Part(name="a", argv=part.argv, env=part.env, address="", check=faulty, waits_for="nothing")
    )
    with pytest.raises(Exception, match="ZeroDivisionError"):
        await asyncio.wait_for(supervisor.wait_ready(), 10)
