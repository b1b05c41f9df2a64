"""Work in the main loop's thread, and tasks that wait for it."""

import asyncio
import concurrent.futures
import types
from collections.abc import Callable

import pytest

from countline_common.errors import DeadlineExceededError
from countline_pipelines.planes.deepstream.gst.loop import MainLoop


class Worked(MainLoop):
    """A main loop whose work is done when the test says so."""

    def __init__(self) -> None:
        super().__init__(types.SimpleNamespace(MainLoop=object))
        self.future: concurrent.futures.Future[int] = concurrent.futures.Future()

    def submit(self, _: Callable[[], int]) -> concurrent.futures.Future[int]:  # type: ignore[override]
        return self.future


async def test_a_cancellation_that_comes_with_the_result_is_not_passed_over() -> None:
    """A camera that was taken out at that moment would be held, and counted, for ever."""
    main = Worked()
    waits = asyncio.create_task(main.run(lambda: 0))
    await asyncio.sleep(0)
    main.future.set_result(0)
    asyncio.get_running_loop().call_soon(waits.cancel)  # after the result is there, before the waiting task has seen it
    with pytest.raises(asyncio.CancelledError):
        await waits


async def test_a_plugin_that_hangs_is_reported_by_the_deadline() -> None:
    with pytest.raises(DeadlineExceededError, match="a plugin hangs"):
        await Worked().run(lambda: 0, timeout_s=0.01)


async def test_an_error_of_the_work_comes_to_the_waiting_task() -> None:
    main = Worked()
    main.future.set_exception(ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        await main.run(lambda: 0)
