"""What every test may use: servers of its own (`tests/fixtures/`) and the shared data where the checkout has it."""

import gc
import getpass
import os
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import psutil
import pytest
import structlog
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
# Tests are imported by path (import-mode=importlib); what they share is found by the root on the path.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

pytest_plugins = [
    *(
        f"tests.fixtures.{path.stem}"
        for path in sorted((ROOT / "tests" / "fixtures").glob("*.py"))
        if path.stem != "__init__"
    ),
    "tests.fixtures.analytics.redis",
    "tests.fixtures.models.service_double",
    "tests.fixtures.oidc.provider",
    "tests.fixtures.pipelines.workers",  # last: it imports others, which pytest must register first
]

FUZZ = "COUNTLINE_TEST_FUZZ"
"""Set by `make fuzz`: property tests get their full budget, and new examples at each run."""

# No deadline: how long an example takes says how busy the machine is, nothing else; benchmarks measure time.
settings.register_profile(
    "usual", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, max_examples=50
)
settings.register_profile("fuzz", settings.get_profile("usual"), derandomize=False, max_examples=1000)
settings.load_profile("fuzz" if os.environ.get(FUZZ) else "usual")


# Thousands of tests and what they import live as long as the process: looking through all of it for garbage, again and
# again, is a quarter of the time of collecting tests and a twentieth of the time of running them.
gc.disable()


def pytest_collection_finish() -> None:
    """Set what was collected apart from what the tests make, and look for garbage in that alone."""
    gc.freeze()
    gc.enable()


# Where a test configures no log, structlog's own prints tracebacks with all local variables: a second of processor time
# for each. Countline's programs print plain ones too.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


MEMORY = Path("/dev/shm")
ROOM_BYTES = 6 << 30
"""More than twice what a run of all tests takes."""


def _keep_files_in_memory() -> None:
    """Put temporary files, of the tests and of what they start, into memory, unless TMPDIR names a place.

    Databases, streams and repositories are thousands of small files, and tests make them hundreds of times. In memory,
    a file takes a twentieth of the processor time that it takes on a disk.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    if min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > ROOM_BYTES:
        folder = MEMORY / f"tests-of-{getpass.getuser()}"
        folder.mkdir(mode=0o755, exist_ok=True)
        os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = None  # pytest has asked for it before


_keep_files_in_memory()


# `nohup`, and a shell that starts a job in the background, ignore these signals. Programs inherit that, so tests could
# not interrupt them. A handler ignores them in this process alone.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared clips, models and conformance cases; skips where this checkout has none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"shared data not found at {folder}")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes start first: `make test` gives each file to one process, which would end last.

    Before them come whole systems: they play films at their own speed, and other tests fill the time that they wait.
    """
    systems = ROOT / "tests" / "e2e"
    items.sort(key=lambda item: (not item.path.is_relative_to(systems), item.get_closest_marker("early") is None))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List why tests were skipped, most frequent reason first."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")].append(report.nodeid)
    if not reasons:
        return
    terminalreporter.section("skipped, by reason")
    for reason, tests in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        files = sorted({test.partition("::")[0] for test in tests})
        more = f" and {len(files) - 1} more files" if len(files) > 1 else ""
        terminalreporter.write_line(f"{len(tests):5d}  {reason}  ({files[0]}{more})")
