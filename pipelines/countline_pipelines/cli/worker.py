"""`countline worker`: one process of the data plane. Its settings are environment variables (worker/settings.py)."""

import asyncio
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from countline_common import logs
from countline_common.errors import FieldProblem, InvalidInputError
from countline_pipelines.sources import DecodeMode
from countline_pipelines.worker.main import run_worker
from countline_pipelines.worker.settings import WorkerSettings


def worker(
    decode: Annotated[DecodeMode | None, typer.Option(help="What decodes; else COUNTLINE_DECODE, else auto.")] = None,
) -> None:
    """Run a worker: it counts the cameras that the control-plane gives it. Settings are COUNTLINE_... variables."""
    given: dict[str, Any] = {} if decode is None else {"decode": decode}
    logs.configure("worker")
    try:
        settings = WorkerSettings(**given)  # the rest from the environment
    except ValidationError as error:
        raise _invalid(error) from None
    asyncio.run(run_worker(settings))


def _invalid(error: ValidationError) -> InvalidInputError:
    problems = tuple(
        FieldProblem(f"COUNTLINE_{'_'.join(map(str, item['loc'])).upper()}", item["msg"]) for item in error.errors()
    )
    return InvalidInputError("the worker's settings cannot be used", cure="set these variables", fields=problems)
