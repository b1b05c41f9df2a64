"""The browser's part of `countline login --oidc`: opens a page, and receives where it leads (RFC 8252)."""

import asyncio
import hmac
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import web

from countline.v1.oidc_pb2 import FinishOidcLoginRequest
from countline_common.access.oidc_redirects import LOOPBACK_CALLBACK, LOOPBACK_HOST
from countline_common.errors import DeadlineExceededError, InvalidInputError

CLOSE_S: Final = 1.0
"""Time for the page to reach the browser when the command ends."""
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


class LoopbackReceiver:
    """Waits on a port of this machine until the identity provider sends the browser to it."""

    def __init__(self) -> None:
        self.redirect_uri = ""
        self._state = ""
        self._answer: asyncio.Future[FinishOidcLoginRequest] = asyncio.get_running_loop().create_future()

    @classmethod
    @asynccontextmanager
    async def listening(cls, port: int = 0) -> AsyncIterator["LoopbackReceiver"]:
        """Return a receiver that listens until the end of the block.

        Args:
            port: where to listen; 0 for a free port.

        Raises:
            InvalidInputError: the port cannot be used.
        """
        receiver, app = cls(), web.Application()
        app.router.add_get(LOOPBACK_CALLBACK, receiver._receive, allow_head=False)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        await runner.setup()
        try:
            await _listen(runner, port)
            receiver.redirect_uri = f"http://{LOOPBACK_HOST}:{runner.addresses[0][1]}{LOOPBACK_CALLBACK}"
            yield receiver
        finally:
            await runner.cleanup()

    async def answer(self, state: str, limit_s: float) -> FinishOidcLoginRequest:
        """Return the answer of the provider, without `login`.

        Args:
            state: of the login. A request with another one comes from another page: it is refused.
            limit_s: seconds to wait.

        Raises:
            DeadlineExceededError: no answer came in time.
        """
        self._state = state
        try:
            async with asyncio.timeout(limit_s):
                return await self._answer
        except TimeoutError:
            raise DeadlineExceededError(
                f"the login was not completed within {limit_s:g} s",
                hint="log in again, in a browser on this machine; without one, use an API key: COUNTLINE_API_KEY",
            ) from None

    async def _receive(self, request: web.Request) -> web.Response:
        given = request.query
        state = given.get("state", "")
        if not self._state or not hmac.compare_digest(state.encode(errors="replace"), self._state.encode()):
            return _page("This page belongs to no login that waits here.", HTTPStatus.BAD_REQUEST)
        if not self._answer.done():
            self._answer.set_result(
                FinishOidcLoginRequest(
                    state=state,
                    code=given.get("code", ""),
                    issuer=given.get("iss", ""),
                    error=given.get("error", ""),
                )
            )
        return _page("Countline received the answer. Close this page: the terminal shows the result.", HTTPStatus.OK)


async def _listen(runner: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(runner, LOOPBACK_HOST, port).start()
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        raise InvalidInputError(
            f"cannot listen on {LOOPBACK_HOST}:{port}: {why}",
            hint="end the program that uses the port, or give another --port that the identity provider knows",
        ) from error


def _page(text: str, status: HTTPStatus) -> web.Response:
    return web.Response(text=f"{text}\n", status=status, headers=_HEADERS)


def open_browser(address: str) -> None:
    """Open a page in the browser of this machine, if there is one.

    The browser gets no terminal: what it prints would come between our lines, and a text browser would take the input.
    """
    # Isolated, since Python would import a `webbrowser.py` of the working folder otherwise.
    command = [sys.executable, "-I", "-m", "webbrowser", address]
    nothing = subprocess.DEVNULL
    subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
