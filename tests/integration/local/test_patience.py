"""How long processes have been busy, as the kernel reports it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from countline_local.supervision.patience import LEAST_SHARE, busy_seconds

RETRYING = "import time\nprint(flush=True)\nwhile True: time.sleep(0.5); sum(range(10_000))"
WORKING = "print(flush=True)\nwhile True: sum(range(10_000))"
MEASURED_S = 2.0


def test_a_process_that_tries_again_and_again_is_not_busy_and_one_that_waits_for_a_processor_is() -> None:
    """A start of a part that NATS refused for want of room went on for minutes: its tries were taken for progress."""
    with running(RETRYING) as retrying:
        assert _share(retrying) < LEAST_SHARE
    with running(WORKING) as working, running(WORKING), running(WORKING), running(WORKING):
        assert _share(working) > LEAST_SHARE
    assert busy_seconds(2**22 + 1) == 0.0


@contextmanager
def running(program: str) -> Iterator[int]:
    """Yield the id of a process that has begun its work."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


def _share(pid: int) -> float:
    before, began = busy_seconds(pid), time.monotonic()
    time.sleep(MEASURED_S)
    return (busy_seconds(pid) - before) / (time.monotonic() - began)
