"""`countline analytics`: runs the processes of analytics. Their settings are `COUNTLINE_…` variables."""

import asyncio
from typing import Any, TypeVar

import typer
from pydantic import ValidationError

from countline_analytics.settings import ApiSettings, IngestSettings
from countline_common.errors import FieldProblem, InvalidInputError

_Settings = TypeVar("_Settings", IngestSettings, ApiSettings)

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Run the processes of analytics.")


@app.command()
def ingest() -> None:
    """Write counts from NATS into the database.

    Settings come from COUNTLINE_ variables. SIGTERM or Ctrl-C stops the process.

    Example: countline analytics ingest
    """
    from countline_analytics.ingest.process import run

    asyncio.run(run(_settings(IngestSettings)))


@app.command()
def api() -> None:
    """Serve REST of every service, live counts and the dashboard.

    Settings come from COUNTLINE_ variables. SIGTERM or Ctrl-C stops the process.

    Example: countline analytics api
    """
    from countline_analytics.api.process import run

    asyncio.run(run(_settings(ApiSettings)))


def _settings(kind: type[_Settings]) -> _Settings:
    nothing: dict[str, Any] = {}  # every setting comes from the environment
    try:
        return kind(**nothing)
    except ValidationError as error:
        problems = tuple(
            FieldProblem("COUNTLINE_" + "_".join(str(part) for part in problem["loc"]).upper(), problem["msg"])
            for problem in error.errors()
        )
        raise InvalidInputError(
            "settings are missing or invalid", hint="set these variables", fields=problems
        ) from error
