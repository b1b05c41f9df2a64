"""`countline doctor`: checks whether this machine can run the data plane, for each backend."""

import asyncio
import os
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from countline_common import logs
from countline_common.cli.terminal import Styled, Terminal
from countline_common.cli.tools import JsonOption, print_json, print_table
from countline_common.errors import CountlineError
from countline_pipelines.planes.deepstream import checks
from countline_pipelines.planes.deepstream.checks import CheckFinding, CheckVerdict
from countline_pipelines.planes.deepstream.settings import DeepStreamSettings
from countline_pipelines.triton import Transport
from countline_pipelines.worker.settings import PlaneBackend

TRITON_TIMEOUT_S: Final = 3.0
_COLOURS: Final = {CheckVerdict.OK: "green", CheckVerdict.MISSING: "red", CheckVerdict.ABSENT: "dim"}


def doctor(
    backend: Annotated[
        PlaneBackend | None, typer.Option(help="Exit with status 1 if this backend cannot run here.")
    ] = None,
    triton: Annotated[
        str, typer.Option(envvar="COUNTLINE_TRITON_ADDRESS", help="HOST:PORT of Triton's gRPC service.")
    ] = "127.0.0.1:9001",
    model: Annotated[
        str, typer.Option(envvar="COUNTLINE_DEFAULT_MODEL", help="Model that Triton must serve.")
    ] = "demo_detector",
    json_: JsonOption = False,
) -> None:
    """Check whether this machine can run the data plane, and print what to do about what is missing.

    Example: countline doctor --backend software
    """
    os.environ.setdefault(logs.LEVEL_VARIABLE, "WARNING")
    logs.configure("doctor")
    options = DeepStreamSettings().checked(triton).pipeline_options(1)
    of_backend = {
        PlaneBackend.SOFTWARE: [check_triton(triton, model), checks.check_nvdec()],
        PlaneBackend.DEEPSTREAM: [check_triton(triton, model), *checks.local_findings(options)],
    }
    if json_:
        print_json({name.value: [_as_dict(finding) for finding in found] for name, found in of_backend.items()})
    else:
        for name, found in of_backend.items():
            _show(name, found)
    if backend is not None and not _can_run(of_backend[backend]):
        raise typer.Exit(1)


def check_triton(address: str, model: str) -> CheckFinding:
    """Check that Triton answers and serves the model."""
    try:
        return asyncio.run(_ask_triton(address, model))
    except CountlineError as error:
        return CheckFinding("Triton", CheckVerdict.MISSING, error.message, error.hint)


async def _ask_triton(address: str, model: str) -> CheckFinding:
    from countline_pipelines.triton.client import TritonClient

    async with await TritonClient.connect(address, Transport.GRPC, timeout_s=TRITON_TIMEOUT_S) as client:
        info = await client.load(model)
    detail = f"{address} serves {info.ref}, {info.width}x{info.height}, batches of {info.max_batch_size}"
    return CheckFinding("Triton", CheckVerdict.OK, detail)


def _can_run(found: Sequence[CheckFinding]) -> bool:
    return all(finding.verdict is not CheckVerdict.MISSING for finding in found)


def _as_dict(finding: CheckFinding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "verdict": finding.verdict.value,
        "detail": finding.detail,
        "hint": finding.hint,
    }


def _show(name: PlaneBackend, found: Sequence[CheckFinding]) -> None:
    verdict = ("can run here", "green") if _can_run(found) else ("cannot run here", "red")
    Terminal().print(Styled.assemble("\n", (f"backend {name.value} ", "bold"), verdict))
    rows = [
        (finding.name, Styled(finding.verdict.value, style=_COLOURS[finding.verdict]), finding.detail, finding.hint)
        for finding in found
    ]
    print_table(("CHECK", "RESULT", "FOUND", "HINT"), rows, "No checks.")
