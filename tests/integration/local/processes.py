"""What the tests of this folder share: looking at processes, and waiting for conditions."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  (what is waited for happens in other processes)
            await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait until something is true, outside an event loop."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def filled(path: Path) -> bool:
    """Whether a file is there with something in it."""
    return path.exists() and path.read_text().strip() != ""


async def read_numbers(path: Path) -> list[int]:
    """Wait for a file with numbers."""
    await until(lambda: filled(path))
    return [int(word) for word in path.read_text().split()]  # noqa: ASYNC240  (a few bytes)


def run_python(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a Python program given as text."""
    return subprocess.Popen([sys.executable, "-c", program, *arguments])


def descendants(pid: int) -> set[int]:
    """Process ids of everything below a process."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found: set[int] = set()
    level: Sequence[int] = [pid]
    while level:
        level = [child for child, parent in parents.items() if parent in level and child not in found]
        found.update(level)
    return found


def segments_of(pids: Iterable[int]) -> list[str]:
    """Names of shared-memory segments that carry the number of one of these processes."""
    numbers = {str(pid) for pid in pids}
    return [path.name for path in Path("/dev/shm").iterdir() if numbers & set(re.findall(r"\d+", path.name))]
