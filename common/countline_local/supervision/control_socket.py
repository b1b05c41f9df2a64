"""The socket in the data folder by which `countline status` and `countline down` reach a running `countline up`.

One request and one answer, each a line of JSON: {"do": "status"} and {"do": "stop"}. Only the folder's owner can reach
it: it lies in a folder of mode 0700.
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
        answers: what to do and say, by request.
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
            pass  # whoever asked has gone or speaks another language; nobody is there to be told
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
        NotFoundError: none runs there.
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
            raise NotFoundError(f"countline does not run on {folder.parent}", hint="start it: countline up") from error
        except OSError as error:
            raise UnavailableError(
                f"countline on {folder.parent} does not answer: {error}",
                hint="end it with kill -9, then start it again",
            ) from error
    answer: dict[str, Any] = json.loads(line or "{}")
    if "error" in answer:
        raise InternalError(answer["error"], hint="use the same version of countline for both")
    return answer


@contextlib.contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """A path to the socket that fits: an address holds 107 bytes, and a data folder may lie deep."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{NAME}"
    finally:
        os.close(fd)
