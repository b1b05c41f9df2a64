"""`countline db`: maintains the database of counts."""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from countline_analytics.cli.rest import DataOption, JsonOption
from countline_analytics.ingest.refence import Refenced, refence
from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Terminal
from countline_common.cli.tools import note, print_json
from countline_common.data import database
from countline_common.errors import NotFoundError, UnavailableError
from countline_common.redaction import redact
from countline_common.settings import DataFolder

DSN_VARIABLE: Final = "COUNTLINE_ANALYTICS_DSN"

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Maintain the database of counts.")


@app.callback()
def _group() -> None:
    """Maintain the database of counts."""  # a group even while it has only one command


@app.command("refence")
def refence_(
    camera: Annotated[str, typer.Option("--camera", help="Camera to refence; all cameras by default.")] = "",
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Compute again which counts of stale workers are left out.

    A camera that moves to another worker has a hand-over; counts of the former worker after the hand-over do not count.
    This command judges every stored hand-over again and marks all counts accordingly, without deleting any. It
    reports hand-overs that were not taken as the worker reported them. Times are UTC.

    The database is that of COUNTLINE_ANALYTICS_DSN, or else of the Countline that runs from the data folder.

    Example: countline db refence --camera door
    """
    result = asyncio.run(_refence(find_dsn(data), camera))
    if as_json:
        print_json(_as_json(result))
    else:
        _print(result)


def find_dsn(data: Path | None) -> str:
    """Return the address of the database of counts.

    Raises:
        NotFoundError: no Countline runs from the data folder.
    """
    if data is None and os.environ.get(DSN_VARIABLE):
        return os.environ[DSN_VARIABLE]
    folder = DataFolder.resolve(data)
    try:
        state = json.loads((folder.run / "state.json").read_text())
        (address,) = [part["address"] for part in state["parts"] if part["name"] == "postgres"]
        password = folder.credential("postgres-analytics-password").read_text().strip()
    except (OSError, ValueError, LookupError) as error:
        raise NotFoundError(
            f"no Countline runs from {folder.root}", hint=f"start one: countline up; or set {DSN_VARIABLE}"
        ) from error
    return f"postgresql://analytics:{password}@{address}/analytics"


async def _refence(dsn: str, camera: str) -> Refenced:
    engine = database.create_engine(dsn)
    try:
        result = await refence(engine, camera)
    except (DBAPIError, PoolTimeoutError, OSError) as error:
        raise UnavailableError(
            f"the database of counts does not answer: {redact(str(error)).splitlines()[0]}",
            hint="see: countline status",
        ) from error
    finally:
        await engine.dispose()
    if camera and not result.cameras:
        raise NotFoundError(f"camera {camera!r} has no hand-over", hint="list cameras: countline cameras list")
    return result


def _as_json(result: Refenced) -> dict[str, Any]:
    corrections = [
        {
            "camera_id": each.camera_id,
            "epoch": each.epoch,
            "reported_at": each.reported_at.isoformat(),
            "hand_over_at": each.hand_over_at.isoformat(),
            "fault": each.fault,
        }
        for each in result.corrections
    ]
    counts = {"cameras": result.cameras, "restored": result.restored, "fenced": result.fenced}
    return {**counts, "corrections": corrections}


def _print(result: Refenced) -> None:
    if result.corrections:
        table = new_table("CAMERA", "EPOCH", "REPORTED(UTC)", "TAKEN AS(UTC)", "REASON")
        for each in result.corrections:
            moments = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (each.reported_at, each.hand_over_at))
            table.add_row(each.camera_id, str(each.epoch), *moments, each.fault or "right as reported")
        Terminal().print(table)
    note(f"{result.cameras} cameras: {result.restored} crossings count again, {result.fenced} count no longer.")
