"""What every test may use: servers of its own (`tests/fixtures/`) and the shared data where the checkout has it."""

import os
import signal
import sys
from collections import defaultdict
from pathlib import Path

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


# Where a test configures no log, structlog's own prints tracebacks with all local variables: a second of processor time
# for each. Countline's programs print plain ones too.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


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
    """Files that take minutes start first: `make test` gives each file to one process, which would end last."""
    items.sort(key=lambda item: item.get_closest_marker("early") is None)


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
