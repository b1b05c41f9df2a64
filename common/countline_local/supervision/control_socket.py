"""The socket in the data folder through which `countline status` and `countline down` reach a running `countline up`.

A request and its answer are one line of JSON each: {"do": "status"} or {"do": "stop"}. Only the folder's owner has
access: the socket lies in a folder of mode 0700.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from countline_common.errors import InternalError, NotFoundError, UnavailableError

NAME: Final = "control.sock"
TIMEOUT_S: Final = 5.0

Answer = Callable[[], dict[str, Any]]


@contextlib.asynccontextmanager
async def serve(folder: Path, answers: Mapping[str, Answer]) -> AsyncIterator[None]:
    """Answer requests as long as the context lasts.

    Args:
        folder: where the socket lies.
        answers: the handlers, by request.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                request = json.loads(await reader.readline() or b"{}")
                answer = answers.get(request.get("do"))
                said = answer() if answer is not None else {"error": f"unknown request: {request}"}
                writer.write(json.dumps(said).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # the client is gone or sent no JSON, so there is no one to answer
        finally:
            writer.close()

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short_path(folder) as path:
        (folder / NAME).unlink(missing_ok=True)
        listener.bind(path)
    server = await asyncio.start_unix_server(handle, sock=listener)
    try:
        async with server:
            yield
    finally:
        (folder / NAME).unlink(missing_ok=True)


def ask(folder: Path, what: str) -> dict[str, Any]:
    """Ask the running `countline up` of a data folder.

    Raises:
        NotFoundError: Countline is not running there.
        UnavailableError: it does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT_S)
        try:
            with _short_path(folder) as path:
                client.connect(path)
            client.sendall(json.dumps({"do": what}).encode() + b"\n")
            with client.makefile("r") as answers:
                line = answers.readline()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise NotFoundError(
                f"Countline is not running on {folder.parent}", hint="start it: countline up"
            ) from error
        except OSError as error:
            raise UnavailableError(
                f"Countline on {folder.parent} does not answer: {error}",
                hint="end it with kill -9, then start it again: countline up",
            ) from error
    answer: dict[str, Any] = json.loads(line or "{}")
    if "error" in answer:
        raise InternalError(answer["error"], hint="use the same version of countline for both")
    return answer


@contextlib.contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """A short path to the socket: a socket address holds 107 bytes, and the path of a data folder may be longer."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{NAME}"
    finally:
        os.close(fd)
