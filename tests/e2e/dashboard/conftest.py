"""A browser, the built page and a gateway that breaks on demand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright
from tests.fixtures.dashboard.fake_gateway import STATIC, FakeGateway
from tests.fixtures.dashboard.visit import CHROMIUM, Visit, visit


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Headless Chromium; skips where there is none, or where the page is not built."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    if not (STATIC / "index.html").is_file():
        pytest.skip("the dashboard is not built (make dashboard)")
    async with async_playwright() as playwright:
        # Root has no sandbox of its own in a container, and CI runs as root.
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="module")
async def dashboard(browser: Browser) -> AsyncIterator[Visit]:
    """A page that is logged in to a gateway of its own."""
    async with visit(browser, FakeGateway()) as one:
        await one.log_in()
        yield one


@pytest.fixture
def screenshots(request: pytest.FixtureRequest) -> Path:
    """Where pictures for people to look at are kept."""
    folder = request.config.rootpath / ".benchmarks" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
