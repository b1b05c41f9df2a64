"""`countline triton`: an embedded Triton in the foreground, for whoever needs a server of their own.

It ends when it is told to (SIGINT, SIGTERM), when Triton ends, and with `--until-eof` when its standard input closes:
so a program which starts it by a pipe can die in any way and leaves nothing running.
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

from countline_common.errors import InvalidInputError, UnavailableError
from countline_common.scratch import scratch_folder
from countline_common.triton.shared_memory import remove_stale
from countline_local.triton.command import TritonPorts, TritonSettings
from countline_local.triton.server import EmbeddedTriton

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
    until_eof: Annotated[bool, typer.Option("--until-eof", help="End when standard input closes.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Have Triton log every request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready.")] = False,
) -> None:
    """Run an embedded Triton until it is stopped; its log goes to standard error."""
    for repository in model_repository:
        if not repository.is_dir():
            raise InvalidInputError(
                f"there is no folder {repository}", hint="give --model-repository a folder of models"
            )
    settings = TritonSettings(
        repositories=tuple(model_repository),
        models=tuple(load or ()),
        host=host,
        ports=TritonPorts(http_port, grpc_port, metrics_port),
        verbose=verbose,
    )
    with _work_folder(work) as folder:
        asyncio.run(_serve(EmbeddedTriton(settings, folder), until_eof=until_eof, as_json=as_json))


@contextlib.contextmanager
def _work_folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with scratch_folder("triton") as folder:
        yield folder


async def _serve(server: EmbeddedTriton, *, until_eof: bool, as_json: bool) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    if until_eof:
        await _watch_stdin(told)
    if not await _start(server, told):
        return
    _announce(server, as_json=as_json)
    ended, stop = asyncio.create_task(server.wait()), asyncio.create_task(told.wait())
    try:
        await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not told.is_set():
            raise UnavailableError(f"Triton ended by itself with status {ended.result()}", hint="see its log above")
    finally:
        ended.cancel()
        stop.cancel()
        await server.stop()
        remove_stale(OUR_SEGMENTS)  # whoever started us may have been killed, and its frames lie there still


async def _start(server: EmbeddedTriton, told: asyncio.Event) -> bool:
    """Start the server; False when told to stop meanwhile."""
    starting, stop = asyncio.create_task(server.start()), asyncio.create_task(told.wait())
    await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if starting.done():
        starting.result()
        return True
    starting.cancel()
    await asyncio.wait({starting})
    return False


async def _watch_stdin(told: asyncio.Event) -> None:
    """Set `told` when standard input ends; what is written to it is read and forgotten."""
    loop = asyncio.get_running_loop()

    class _UntilEof(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
            told.set()

    await loop.connect_read_pipe(_UntilEof, sys.stdin)


def _announce(server: EmbeddedTriton, *, as_json: bool) -> None:
    addresses = asdict(server.addresses)
    if as_json:
        typer.echo(json.dumps({"ready": True, "pid": server.pid, **addresses}))
        sys.stdout.flush()
        return
    for name, address in addresses.items():
        typer.echo(f"{name:8} {address}")
