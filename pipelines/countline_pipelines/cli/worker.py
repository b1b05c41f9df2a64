"""`countline worker`: one process of the data plane. Its settings are environment variables (worker/settings.py)."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from countline_common import logs
from countline_common.errors import FieldProblem, InvalidInputError
from countline_pipelines.sources import DecodeMode
from countline_pipelines.worker.main import run_worker
from countline_pipelines.worker.settings import PlaneBackend, WorkerSettings


def worker(
    decode: Annotated[DecodeMode | None, typer.Option(help="Decoder. Default: COUNTLINE_DECODE, else auto.")] = None,
    backend: Annotated[
        PlaneBackend | None, typer.Option(help="Data plane. Default: COUNTLINE_BACKEND, else software.")
    ] = None,
    print_pipeline: Annotated[
        bool, typer.Option("--print-pipeline", help="Print DeepStream's pipeline and its files, and exit.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="With --print-pipeline: the model's config.pbtxt to use instead of asking Triton."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="With --print-pipeline: print JSON.")] = False,
) -> None:
    """Run a worker, which counts the cameras that the control-plane assigns to it.

    Its settings are COUNTLINE_... environment variables.

    Example: COUNTLINE_NATS_URL=nats://127.0.0.1:4222 countline worker
    """
    logs.configure("worker")
    options = {"decode": decode, "backend": backend}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if print_pipeline:
        _print_pipeline(config, json_=json_)
        return
    try:
        settings = WorkerSettings(**given)  # the rest from the environment
    except ValidationError as error:
        raise _invalid(error) from None
    asyncio.run(run_worker(settings))


def _print_pipeline(config: Path | None, *, json_: bool) -> None:
    from countline_pipelines.planes.deepstream.printing import model_of_config, model_of_triton, pipeline_text
    from countline_pipelines.planes.deepstream.settings import DeepStreamSettings

    try:
        # This command publishes nothing, so it needs no address of NATS.
        settings = WorkerSettings(nats_url="")
        triton = settings.triton_address
        options = DeepStreamSettings().checked(triton).pipeline_options(settings.capacity)
        info = model_of_triton(settings.default_model, triton) if config is None else model_of_config(config)
        command, files = pipeline_text(options, info, triton, settings.pipelines_folder)
    except ValidationError as error:
        raise _invalid(error) from None
    if json_:
        print(json.dumps({"command": command, "files": files}))
        return
    for path, text in files.items():
        print(f"# {path}\n{text}")
    print(f"# with these files in place\n{command}")


def _invalid(error: ValidationError) -> InvalidInputError:
    problems = tuple(
        FieldProblem(f"COUNTLINE_{'_'.join(map(str, item['loc'])).upper()}", item["msg"]) for item in error.errors()
    )
    return InvalidInputError("invalid worker settings", hint="set these environment variables", fields=problems)
