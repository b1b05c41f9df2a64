"""Uploads whose client hangs up: their folder is removed after the last thread that works in it has ended."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from countline_control.models.deployment.deployer import Deployer
from countline_control.models.deployment.domain import DeployRequest
from countline_control.models.deployment.progress import Progress
from countline_models.deploy import Limits

DATA = b"a model"
REQUEST = DeployRequest("net", len(DATA), hashlib.sha256(DATA).hexdigest())
WAIT_S = 20.0


class Slow:
    """Wraps a method of `Path`: for chosen paths, the thread that calls it goes on when the test allows it."""

    def __init__(self, patch: pytest.MonkeyPatch, method: str, chosen: Callable[[Path], bool]) -> None:
        self.called, self.may_go_on = threading.Event(), threading.Event()
        original = getattr(Path, method)

        def slow(path: Path, *arguments: Any, **options: Any) -> Any:
            if chosen(path):
                self.called.set()
                assert self.may_go_on.wait(WAIT_S)
            return original(path, *arguments, **options)

        patch.setattr(Path, method, slow)


async def chunks() -> AsyncIterator[bytes]:
    yield DATA


@pytest.mark.parametrize(
    ("method", "chosen"),
    [("mkdir", lambda path: path.name.startswith("deploy-")), ("open", lambda path: path.name == "net.onnx")],
)
async def test_a_client_that_hangs_up_while_a_folder_or_file_is_made_leaves_nothing_behind(
    method: str, chosen: Callable[[Path], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder was removed while a thread created a file in it, so that it stayed, with the file."""
    work, slow = tmp_path / "work", Slow(monkeypatch, method, chosen)
    deployer = Deployer(None, None, None, work, Limits())  # type: ignore[arg-type]
    task = asyncio.create_task(deployer.deploy(REQUEST, chunks(), "ann", Progress(asyncio.Queue())))
    assert await asyncio.to_thread(slow.called.wait, WAIT_S)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.2)
    slow.may_go_on.set()
    await asyncio.wait({task}, timeout=WAIT_S)
    assert not done, "it waits for the thread"
    assert task.cancelled()
    assert list(work.iterdir()) == []
