"""The guard: whatever happens to whoever started it, nothing that it runs is left."""

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.local.processes import alive, read_numbers, run_python, until

from countline_common.errors import UnavailableError
from countline_local.supervision import guard_client
from countline_local.supervision.guard_client import GuardClient, Launch

ENV = {"PATH": os.environ["PATH"]}


def sh(name: str, script: str, tmp_path: Path, **options: object) -> Launch:
    return Launch(name, ["/bin/sh", "-c", script], ENV, tmp_path, tmp_path / f"{name}.log", **options)  # type: ignore[arg-type]


@pytest.fixture
async def guard(tmp_path: Path) -> AsyncIterator[GuardClient]:
    client = await GuardClient(tmp_path / "guard.log").open()
    yield client
    await client.close()
    assert (tmp_path / "guard.log").read_text() == ""


DEAF = "trap '' TERM; echo up; while :; do sleep 0.05; done"


async def test_a_process_runs_with_its_environment_and_its_output_is_logged(guard: GuardClient, tmp_path: Path) -> None:
    launch = Launch(
        "a", ["/bin/sh", "-c", "echo out $X; echo err >&2; exit 3"], {**ENV, "X": "y"}, tmp_path, tmp_path / "l"
    )
    running = await guard.start(launch)
    assert await running.wait() == 3
    assert (tmp_path / "l").read_text().splitlines() == ["out y", "err"]


async def test_a_program_that_does_not_exist_is_said_so(guard: GuardClient, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"no-such-program|No such file"):
        await guard.start(Launch("a", ["/no-such-program"], ENV, tmp_path, tmp_path / "l"))


async def test_a_process_whose_start_took_too_long_is_not_in_the_way_of_the_next_start(
    guard: GuardClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an overloaded machine the guard started it later, the supervisor did not know it: no start succeeded again."""
    seen: list[str] = []
    on_event = guard._on_event

    def see(event: dict[str, Any]) -> None:
        on_event(event)
        seen.append(event["event"])

    monkeypatch.setattr(guard, "_on_event", see)
    with monkeypatch.context() as patched:
        patched.setattr(guard_client, "START_TIMEOUT_S", 0.0)
        with pytest.raises(UnavailableError, match="not started within"):
            await guard.start(sh("late", "echo started; exec sleep 600", tmp_path))
    await until(lambda: seen[-1:] == ["exited"])
    assert await (await guard.start(sh("late", "exit 7", tmp_path))).wait() == 7


async def test_a_process_that_ignores_its_stop_signal_is_killed_when_its_grace_is_over(
    guard: GuardClient, tmp_path: Path
) -> None:
    running = await guard.start(sh("deaf", DEAF, tmp_path, stop_grace_s=0.3))
    await until(lambda: "up" in (tmp_path / "deaf.log").read_text())
    started = time.monotonic()
    await guard.stop("deaf")
    assert await running.wait() == -signal.SIGKILL
    assert 0.3 <= time.monotonic() - started < 20  # the machine may be busy


async def test_what_a_killed_process_left_running_is_ended_before_its_death_is_reported(
    guard: GuardClient, tmp_path: Path
) -> None:
    # setsid: not even in the process group of the part.
    running = await guard.start(sh("a", "setsid sleep 600 & echo $! > pid; wait", tmp_path))
    (grandchild,) = await read_numbers(tmp_path / "pid")
    os.kill(running.pid, signal.SIGKILL)
    assert await running.wait() == -signal.SIGKILL
    assert not alive(grandchild)


async def test_a_daemon_that_slips_away_from_its_parent_is_found(guard: GuardClient, tmp_path: Path) -> None:
    await guard.start(sh("a", "(setsid sleep 600 & echo $! > pid) ; exec sleep 600", tmp_path))
    (daemon,) = await read_numbers(tmp_path / "pid")
    await until(lambda: not alive(daemon))


async def test_stages_are_stopped_from_the_highest_down(guard: GuardClient, tmp_path: Path) -> None:
    script = "trap 'sleep 0.2; echo $NAME >> order; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    for name, stage in (("base", 0), ("top", 2), ("middle", 1)):
        await guard.start(
            Launch(
                name, ["/bin/sh", "-c", script], {**ENV, "NAME": name}, tmp_path, tmp_path / f"{name}.log", stage=stage
            )
        )
        await until(lambda name=name: "up" in (tmp_path / f"{name}.log").read_text())
    await guard.end()
    assert (tmp_path / "order").read_text().split() == ["top", "middle", "base"]


async def test_end_now_waits_for_nobody(guard: GuardClient, tmp_path: Path) -> None:
    running = await guard.start(sh("deaf", DEAF, tmp_path, stop_grace_s=60))
    await until(lambda: "up" in (tmp_path / "deaf.log").read_text())
    await guard.end(now=True)
    assert not alive(running.pid)


async def test_when_the_guard_itself_is_killed_its_processes_and_their_descendants_go_with_it(
    guard: GuardClient, tmp_path: Path
) -> None:
    running = await guard.start(sh("a", "setsid sleep 600 & echo $! > pid; wait", tmp_path))
    (grandchild,) = await read_numbers(tmp_path / "pid")
    assert guard._process is not None
    guard._process.kill()
    assert await running.wait() == -signal.SIGKILL
    await until(lambda: not alive(running.pid) and not alive(grandchild))  # the kernel kills them a moment later
    assert not guard.alive
    with pytest.raises(UnavailableError):
        await guard.start(sh("b", "true", tmp_path))


SUPERVISOR = """
import asyncio, os, sys
from pathlib import Path
from countline_local.supervision import guard_client
from countline_local.supervision.guard_client import GuardClient, Launch
from tests.fixtures.local.processes import alive, filled, read_numbers, run_python, until
async def main(folder):
    guard = await GuardClient(folder / "guard.log", remove=[f"{folder}/leftover-*"]).open()
    env = {"PATH": os.environ["PATH"]}
    script = "trap 'echo yes > asked; exit 0' TERM; setsid sleep 600 & echo $! > grandchild; while :; do sleep .1; done"
    running = await guard.start(Launch("a", ["/bin/sh", "-c", script], env, folder, folder / "a.log"))
    (folder / "pids").write_text(f"{running.pid} {guard._process.pid}")
    await running.wait()
asyncio.run(main(Path(sys.argv[1])))
"""


async def test_after_kill_9_of_the_supervisor_everything_is_stopped_in_order_and_nothing_is_left(
    tmp_path: Path,
) -> None:
    (tmp_path / "leftover-socket").touch()
    supervisor = run_python(SUPERVISOR, str(tmp_path))
    pids = await read_numbers(tmp_path / "pids") + await read_numbers(tmp_path / "grandchild")
    supervisor.kill()
    supervisor.wait()
    await until(lambda: not any(alive(pid) for pid in pids))
    assert (tmp_path / "asked").exists(), "the part was killed without being asked to stop"
    assert not (tmp_path / "leftover-socket").exists()


async def test_supervisor_and_guard_killed_in_the_same_moment_leave_no_part(tmp_path: Path) -> None:
    supervisor = run_python(SUPERVISOR, str(tmp_path))
    part, guard_pid = await read_numbers(tmp_path / "pids")
    (grandchild,) = await read_numbers(tmp_path / "grandchild")
    os.kill(guard_pid, signal.SIGKILL)
    supervisor.kill()
    supervisor.wait()
    await until(lambda: not alive(part) and not alive(guard_pid))
    os.kill(grandchild, signal.SIGKILL)  # a plain `sleep` notices nothing; our parts' children do
