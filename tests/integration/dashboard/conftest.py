"""The built page in a browser, with a gateway that breaks on demand."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio
from tests.fixtures.dashboard.fake_gateway import FakeGateway
from tests.fixtures.dashboard.visit import Visit, visit

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest_asyncio.fixture(loop_scope="module")
async def dashboard(browser: "Browser") -> AsyncIterator[Visit]:
    """A page that is logged in to a gateway of its own."""
    async with visit(browser, FakeGateway()) as one:
        await one.log_in()
        yield one
