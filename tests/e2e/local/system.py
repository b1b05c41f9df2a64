"""A running `countline up` on a data folder of its own, asked as a user would ask it."""

import asyncio
import ctypes
import json
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from tests.integration.local.processes import wait_until

from countline_local.supervision.guard import PR_SET_PDEATHSIG

COUNTLINE = Path(sys.executable).with_name("countline")
# Generous, since the machine may be shared.
READY_WITHIN_S = 180.0


def _die_with_parent() -> None:
    """A test run that is killed takes the system with it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class System:
    """A running `countline up`, asked as a user would."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self._login: tuple[str, str] | None = None
        self.started_at = time.monotonic()
        self._log = data.with_suffix(".log")
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [COUNTLINE, "up", "--data", data, "--any-ports", *options],
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  (it calls one function of the C library and nothing else)
            )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COUNTLINE, *words, "--data", str(self.data)], capture_output=True, text=True, timeout=200, check=False
        )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return found

    def part(self, name: str) -> dict[str, Any]:
        return next(part for part in self.status()["parts"] if part["name"] == name)

    def wait_ready(self, timeout_s: float = READY_WITHIN_S) -> None:
        wait_until(lambda: self.process.poll() is not None or self.status()["ready"], timeout_s)
        assert self.process.poll() is None, self.said

    def verify(self) -> dict[str, Any]:
        done = self.run("verify", "--json")
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        return found

    async def get(self, path: str) -> dict[str, Any]:
        """The data of a REST answer."""
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                url, token = self._login or await self._log_in(session)
                async with session.get(f"{url}{path}", headers={"Authorization": f"Bearer {token}"}) as answer:
                    found = await answer.json()
                if answer.status != 401:
                    break
                self._login = None  # the token has expired
        assert found["success"], found
        data: dict[str, Any] = found["data"]
        return data

    async def _log_in(self, session: aiohttp.ClientSession) -> tuple[str, str]:
        password = (self.data / "credentials" / "admin-password").read_text().strip()
        url = json.loads((self.data / "run" / "endpoints.json").read_text())["gateway"]
        body = {"username": "admin", "password": password}
        async with session.post(f"{url}/api/v1/auth/login", json=body) as answer:
            self._login = url, (await answer.json())["data"]["tokens"]["access_token"]
        return self._login

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)


async def wait_for(condition: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
    """Wait until something is true that has to be asked for."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.5)
