"""`countline triton`: runs an embedded Triton in the foreground.

It ends on SIGINT or SIGTERM, when Triton has ended more often than `--restarts`, and with `--until-eof` when its
standard input closes. So a program that starts it with a pipe leaves nothing running, however that program dies.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from countline_common.cli.tools import note, say
from countline_common.errors import InvalidInputError, UnavailableError
from countline_common.files.scratch import scratch_folder
from countline_common.secrets.secret_files import ensure_secret
from countline_common.triton.access import secret_file
from countline_common.triton.shared_memory import remove_stale
from countline_local.triton.command import TritonPorts, TritonSettings
from countline_local.triton.server import EmbeddedTriton, TritonStartError

OUR_SEGMENTS: Final = "countline-"


def triton(
    model_repository: Annotated[list[Path], typer.Option(help="Folder of models; may be given several times.")],
    load: Annotated[list[str] | None, typer.Option(help="Model to load at start; may be given several times.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(help="HTTP port; 0 takes a free one.", min=0, max=65535)] = 9000,
    grpc_port: Annotated[int, typer.Option(help="gRPC port; 0 takes a free one.", min=0, max=65535)] = 9001,
    metrics_port: Annotated[
        int, typer.Option(help="Port of the metrics; 0 takes a free one.", min=0, max=65535)
    ] = 9002,
    work: Annotated[Path | None, typer.Option(help="Folder for the assembled backends; else a temporary one.")] = None,
    restarts: Annotated[
        int, typer.Option(help="How often to restart Triton on the same ports when it ends by itself.", min=0)
    ] = 0,
    until_eof: Annotated[bool, typer.Option("--until-eof", help="End when standard input closes.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Have Triton log every request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run an embedded Triton until it is stopped; its log goes to standard error.

    Only clients that send the secret of the data folder (credentials/triton-secret) may load models or share memory.

    Example: countline triton --model-repository triton-repo --load demo_detector
    """
    for repository in model_repository:
        if not repository.is_dir():
            raise InvalidInputError(
                f"there is no folder {repository}", hint="give --model-repository a folder of models"
            )
    secret = ensure_secret(secret_file())
    settings = TritonSettings(
        secret=secret,
        repositories=tuple(model_repository),
        models=tuple(load or ()),
        host=host,
        ports=TritonPorts(http_port, grpc_port, metrics_port),
        verbose=verbose,
    )
    with _work_folder(work) as folder:
        server = EmbeddedTriton(settings, folder)
        asyncio.run(_serve(server, restarts=restarts, until_eof=until_eof, as_json=as_json))


@contextlib.contextmanager
def _work_folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with scratch_folder("triton") as folder:
        yield folder


async def _serve(server: EmbeddedTriton, *, restarts: int, until_eof: bool, as_json: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    if until_eof:
        await _watch_stdin(stopping)
    restarted = 0
    try:
        while ended := await _live(server, stopping, restarted, as_json=as_json):
            if restarted == restarts:
                raise ended
            restarted += 1
            note(f"{ended.message}; restarting it ({restarted} of {restarts})")
            await server.stop()
    finally:
        await server.stop()
        # The program that started this command may have been killed, and its segments are still there.
        remove_stale(OUR_SEGMENTS)


async def _live(
    server: EmbeddedTriton, stopping: asyncio.Event, restarted: int, *, as_json: bool
) -> UnavailableError | None:
    """One life of the server; returns why it ended by itself, None if `stopping` is set.

    Raises:
        CountlineError: the server did not start, and did not start before either.
    """
    try:
        if not await _start(server, stopping):
            return None
    except TritonStartError as error:
        if restarted == 0:
            raise  # a fault of the models or of the installation: another attempt would end in the same way
        return error
    _announce(server, restarted, as_json=as_json)
    status = await _end(server, stopping)
    if status is None:
        return None
    after = f" after {restarted} restarts" if restarted else ""
    return UnavailableError(f"Triton ended by itself with status {status}{after}", hint="see its log")


async def _start(server: EmbeddedTriton, stopping: asyncio.Event) -> bool:
    """Start the server; False if `stopping` is set meanwhile."""
    starting, stop = asyncio.create_task(server.start()), asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if starting.done():
        starting.result()
        return True
    starting.cancel()
    await asyncio.wait({starting})
    return False


async def _end(server: EmbeddedTriton, stopping: asyncio.Event) -> int | None:
    """Wait until the server ends by itself and return its exit status; None if `stopping` is set first."""
    ended, stop = asyncio.create_task(server.wait()), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
        return None if stopping.is_set() else ended.result()
    finally:
        ended.cancel()
        stop.cancel()


async def _watch_stdin(stopping: asyncio.Event) -> None:
    """Set `stopping` when standard input closes; its content is ignored."""
    loop = asyncio.get_running_loop()

    class _UntilEof(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
            stopping.set()

    await loop.connect_read_pipe(_UntilEof, sys.stdin)


def _announce(server: EmbeddedTriton, restarted: int, *, as_json: bool) -> None:
    """Print the addresses; once more after each restart, for a program that counts them."""
    addresses = asdict(server.addresses)
    if as_json:
        print(json.dumps({"ready": True, "pid": server.pid, "restarts": restarted, **addresses}), flush=True)
        return
    for name, address in addresses.items():
        say(f"{name:8} {address}")
