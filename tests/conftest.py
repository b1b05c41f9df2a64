"""What every test may use: servers of its own (`tests/fixtures/`) and the shared data where the checkout has it."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent
# Tests are imported by path (import-mode=importlib); what they share is found by the root on the path.
if str(REPOSITORY) not in sys.path:
    sys.path.append(str(REPOSITORY))

pytest_plugins = [
    f"tests.fixtures.{path.stem}"
    for path in sorted((REPOSITORY / "tests" / "fixtures").glob("*.py"))
    if path.stem != "__init__"
]


# How long an example takes says how busy the machine is, nothing else; benchmarks measure time.
settings.register_profile("countline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("countline")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared clips, models and conformance cases; skips where this checkout has none."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"shared data not found at {folder}")
    return folder
