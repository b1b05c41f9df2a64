"""Work that is done to its end."""

import asyncio

import pytest

from countline_common.tasks import cancel, to_its_end


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_work_ends_before_the_cancellation_of_whoever_awaits_it_does(times: int) -> None:
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        ended.set()

    waiting = asyncio.create_task(to_its_end(work()))
    await _turns()
    for _ in range(times):
        waiting.cancel()
        await _turns()
        assert not waiting.done(), "it has an owner as long as it lasts"
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_what_the_work_raises_is_the_cause_of_the_cancellation() -> None:
    may_end = asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        raise ValueError("no room")

    waiting = asyncio.create_task(to_its_end(work()))
    await _turns()
    waiting.cancel()
    await _turns()
    may_end.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await waiting
    assert str(caught.value.__cause__) == "no room"


async def test_without_a_cancellation_it_is_a_plain_await() -> None:
    async def work(number: int) -> int:
        if number < 0:
            raise ValueError("negative")
        return number

    assert await to_its_end(work(7)) == 7
    with pytest.raises(ValueError, match="negative"):
        await to_its_end(work(-1))


async def test_tasks_are_cancelled_together_and_an_error_on_the_way_out_is_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def fails_at_its_end() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("the file is gone")

    async def fails_at_once() -> None:
        raise KeyError("seen by its owner")

    tasks = [
        asyncio.create_task(asyncio.sleep(60), name="sleeper"),
        asyncio.create_task(fails_at_its_end(), name="closer"),
        asyncio.create_task(fails_at_once(), name="early"),
    ]
    await asyncio.sleep(0)
    await cancel(*tasks)
    assert all(task.done() for task in tasks)
    written = "".join((*capsys.readouterr(), caplog.text))  # as another test of the process configured logging
    assert "closer" in written
    assert "the file is gone" in written
    assert "early" not in written
