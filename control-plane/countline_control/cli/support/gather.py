"""`countline support gather`."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from countline_common.cli.tools import DataOption, ServerOption, note, say
from countline_common.errors import CountlineError
from countline_common.files.output_files import OutputFiles
from countline_common.grpc.client import connect
from countline_common.grpc.discovery import ServerProfile, discover
from countline_common.settings import DataFolder
from countline_common.times import rfc3339
from countline_control.cli.support import machine
from countline_control.cli.support.archive import GatheredFile, archive_of, write_private
from countline_control.cli.support.scrubbing import Scrubber
from countline_control.cli.support.services import QUESTIONS

SECTION_TIMEOUT_S: Final = 20.0
"""For each question to the services."""

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Help those who look for a fault.")


@app.callback()
def _group() -> None:
    """Help those who look for a fault."""  # a group even while it has only one command


@app.command("gather")
def gather(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; by default named by the time.")
    ] = None,
    doctor: Annotated[bool, typer.Option("--doctor/--no-doctor", help="Include what `countline doctor` finds.")] = True,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Gather versions, configuration, health, camera states and recent logs in one tar.gz, without secrets.

    What cannot be gathered, such as while the server is away, is listed in manifest.json. Passwords, keys and tokens
    are masked. Names of cameras, users and machines, and addresses, are not: read the archive before you hand it on.

    Example: countline support gather --output fault.tar.gz
    """
    name = time.strftime("countline-support-%Y%m%d-%H%M%S")
    path = output or Path(f"{name}.tar.gz")
    with OutputFiles() as outputs:
        file = outputs.open("--output", path)
        faults: dict[str, str] = {}
        files, scrubber = _gathered(server, data, faults, doctor=doctor)
        content = archive_of(name, files, scrubber)
        write_private(file, content)
    for missing, reason in faults.items():
        note(f"Not gathered: {missing}: {reason}")
    note(f"{len(files)} files, {len(content) / 1024:.0f} KiB. Secrets are masked; read it before you hand it on.")
    if not file.is_standard_output:
        say(str(path))


def _gathered(
    server: str | None, data: Path | None, faults: dict[str, str], *, doctor: bool
) -> tuple[list[GatheredFile], Scrubber]:
    """All files of the archive, and what takes the secrets out of them. `faults` gets what cannot be gathered."""
    target = _target(server, data, faults)
    folder = target.data if target is not None else _local_folder(server, data)
    files = [*_of_services(target, faults), *_of_machine(folder, faults, doctor=doctor)]
    manifest = {
        "gathered_at": rfc3339(time.time()),
        "server": target.endpoints.auth if target is not None else "",
        "files": [file.name for file in files],
        "not_gathered": faults,
    }
    secrets = machine.known_secrets(folder, target.api_key if target is not None else "")
    return [GatheredFile("manifest.json", manifest), *files], Scrubber(secrets)


def _target(server: str | None, data: Path | None, faults: dict[str, str]) -> ServerProfile | None:
    try:
        return discover(server, data)
    except CountlineError as error:
        faults["server"] = error.message
        return None


def _local_folder(server: str | None, data: Path | None) -> DataFolder | None:
    """The data folder of a Countline that does not run: its logs say why."""
    return DataFolder.resolve(data) if server is None else None


def _of_services(target: ServerProfile | None, faults: dict[str, str]) -> list[GatheredFile]:
    return asyncio.run(_asked(target, faults)) if target is not None else []


async def _asked(target: ServerProfile, faults: dict[str, str]) -> list[GatheredFile]:
    """Ask all questions at once, each with a connection of its own, so that one that fails spoils no other."""

    async def ask(name: str) -> GatheredFile | None:
        try:
            async with asyncio.timeout(SECTION_TIMEOUT_S), connect(target) as client:
                return GatheredFile(name, await QUESTIONS[name](client))
        except CountlineError as error:
            faults[name] = error.message
        except TimeoutError:
            faults[name] = f"no answer within {SECTION_TIMEOUT_S:g} s"
        return None

    found = await asyncio.gather(*map(ask, QUESTIONS))
    return [file for file in found if file is not None]


def _of_machine(folder: DataFolder | None, faults: dict[str, str], *, doctor: bool) -> Iterator[GatheredFile]:
    questions: dict[str, Callable[[], Any]] = {
        "versions.json": machine.versions,
        "configuration.json": lambda: machine.configuration(folder),
    }
    if doctor:
        questions["health/doctor.json"] = machine.doctor
    for name, question in questions.items():
        try:
            yield GatheredFile(name, question())
        except (CountlineError, OSError, ValueError) as error:
            faults[name] = str(error)
    if folder is not None and folder.logs.is_dir():
        yield from machine.log_files(folder)
