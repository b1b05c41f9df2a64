"""`countline analytics`: the processes of analytics. Their settings are `COUNTLINE_…` variables."""

import asyncio
from typing import Any, TypeVar

import typer
from pydantic import ValidationError

from countline_analytics.settings import ApiSettings, IngestSettings
from countline_common.errors import FieldProblem, InvalidInputError

_Settings = TypeVar("_Settings", IngestSettings, ApiSettings)

app = typer.Typer(no_args_is_help=True, help="The processes of analytics: what counts flow into, and what serves them.")


@app.command()
def ingest() -> None:
    """Take counts from NATS into the database until told to stop."""
    from countline_analytics.ingest.process import run

    asyncio.run(run(_settings(IngestSettings)))


@app.command()
def api() -> None:
    """Serve counts, REST of every service, live numbers and the dashboard until told to stop."""
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
            "the settings of this process are not complete", hint="set these variables", fields=problems
        ) from error
