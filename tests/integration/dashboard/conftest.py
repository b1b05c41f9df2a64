"""The built page in a browser, with a gateway that breaks on demand."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser
from tests.fixtures.dashboard.fake_gateway import FakeGateway
from tests.fixtures.dashboard.visit import Visit, visit


@pytest_asyncio.fixture(loop_scope="module")
async def dashboard(browser: Browser) -> AsyncIterator[Visit]:
    """A page that is logged in to a gateway of its own."""
    async with visit(browser, FakeGateway()) as one:
        await one.log_in()
        yield one
