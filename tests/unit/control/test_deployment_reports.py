"""The reports of a running deployment."""

import asyncio
from contextlib import aclosing

import pytest

from countline_control.models.deployment.domain import StepReport
from countline_control.models.deployment.progress import Progress, reported
from countline_control.models.domain import StoredVersion, Validation, VersionState

VERSION = StoredVersion("net", 1, VersionState.VALIDATED, "0" * 64, 10, 0.4, "", "", Validation(), "ann", 0.0)


async def test_every_report_comes_in_order_and_the_version_last() -> None:
    async def work(progress: Progress) -> StoredVersion:
        for step in ("receive", "contract"):
            await progress.begin(step)
            await progress.done(step)
        return VERSION

    found = [each.step if isinstance(each, StepReport) else each async for each in reported(work)]
    assert found == ["receive", "receive", "contract", "contract", VERSION]


async def test_a_listener_that_is_cancelled_leaves_nothing_behind_that_waits() -> None:
    """Each client that disconnected left a task that waited for the next report for ever."""
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def work(progress: Progress) -> StoredVersion:
        await progress.begin("receive")
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return VERSION

    async def listen() -> None:
        async with aclosing(reported(work)) as reports:
            async for _ in reports:
                begun.set()

    before = asyncio.all_tasks()
    listener = asyncio.create_task(listen())
    async with asyncio.timeout(5.0):
        await begun.wait()
        listener.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listener
    assert stopped.is_set()
    assert asyncio.all_tasks() == before
