"""`countline serve`."""

import asyncio
from enum import StrEnum
from typing import Annotated

import typer
from pydantic import ValidationError

from countline_common import logs
from countline_common.errors import FieldProblem, InvalidInputError
from countline_control.serve.plane import SERVICES
from countline_control.serve.process import serve as serve_services
from countline_control.settings import ControlSettings


class Which(StrEnum):
    """Which services to run."""

    ALL = "all"
    AUTH = "auth"
    CAMERAS = "cameras"
    MODELS = "models"
    WORKERS = "workers"


def serve(
    which: Annotated[Which, typer.Argument(help="Service to run, or `all` in one process.")] = Which.ALL,
) -> None:
    """Run the services of the control-plane. Settings come from COUNTLINE_… variables.

    Example: countline serve cameras
    """
    logs.configure("control" if which is Which.ALL else which.value)
    wanted = SERVICES if which is Which.ALL else (which.value,)
    asyncio.run(serve_services(_settings(), wanted))


def _settings() -> ControlSettings:
    try:
        return ControlSettings()
    except ValidationError as error:
        problems = tuple(
            FieldProblem(f"COUNTLINE_{'_'.join(map(str, item['loc'])).upper()}", item["msg"]) for item in error.errors()
        )
        raise InvalidInputError("the settings cannot be used", fields=problems) from error
