"""`countline check`: checks for Nagios, Icinga, Checkmk and other monitoring systems."""

import asyncio
import time
from typing import Annotated, Final

import typer

from countline.v1.cameras_pb2 import GetCameraRequest, ListCamerasRequest
from countline.v1.parts_pb2 import ListMessageStreamsRequest, MessageStream
from countline.v1.workers_pb2 import ListWorkersRequest
from countline_common.cli.completion import complete_camera, complete_site
from countline_common.cli.tools import DataOption, JsonOption, ServerOption
from countline_common.grpc.client import Client
from countline_common.grpc.paging import every_page
from countline_control.cli.cameras import all_cameras
from countline_control.cli.monitoring.answers import answers_of_services
from countline_control.cli.monitoring.camera_checks import CameraLimits, check_camera, check_cameras
from countline_control.cli.monitoring.checking import DEFAULT_TIMEOUT_S, CheckGroup, TimeoutOption, run_check
from countline_control.cli.monitoring.system_checks import (
    check_dlq,
    check_ingest,
    check_server,
    check_workers,
    reads_now,
)
from countline_control.cli.monitoring.thresholds import CountLimit, check_order
from countline_control.cli.monitoring.verdicts import CheckLevel, CheckResult

MIB: Final = 2.0**20
READS_WITHIN_S: Final = 3.0
"""An ingest that runs opens a request within this time."""
ASK_AGAIN_S: Final = 0.3

app = typer.Typer(
    cls=CheckGroup,
    add_completion=False,
    no_args_is_help=True,
    help="Check a running Countline: one line, and the exit codes of Nagios (0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN).",
)


@app.command("cameras")
def cameras(
    site: Annotated[str, typer.Option("--site", help="Only cameras of this site.", autocompletion=complete_site)] = "",
    tag: Annotated[str, typer.Option("--tag", help="Only cameras with this tag.")] = "",
    warning: Annotated[
        str, typer.Option("--warning", "-w", metavar="N|N%", help="Active cameras down or impaired: a warning.")
    ] = "1",
    critical: Annotated[
        str, typer.Option("--critical", "-c", metavar="N|N%", help="Active cameras down: critical.")
    ] = "1",
    timeout_s: TimeoutOption = DEFAULT_TIMEOUT_S,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Check that all active cameras count.

    Example: countline check cameras --site lab --critical 10%
    """

    async def question(client: Client) -> CheckResult:
        limits = CountLimit.parse("--warning", warning), CountLimit.parse("--critical", critical)
        found = await all_cameras(client, ListCamerasRequest(site_id=site, tag=tag))
        if not found and (site or tag):
            return CheckResult(CheckLevel.UNKNOWN, "no camera has this site and tag", hint="see countline cameras list")
        return check_cameras(found, *limits)

    run_check("cameras", question, server, data, timeout_s, as_json=json)


@app.command("camera")
def camera(
    camera_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the camera.", autocompletion=complete_camera)],
    warning_latency: Annotated[
        float | None, typer.Option("--warning-latency", min=0, metavar="SECONDS", help="So slow: a warning.")
    ] = None,
    critical_latency: Annotated[
        float | None, typer.Option("--critical-latency", min=0, metavar="SECONDS", help="So slow: critical.")
    ] = None,
    warning_fps: Annotated[
        float | None,
        typer.Option(
            "--warning-fps",
            min=0,
            metavar="FPS",
            help="Fewer frames a second: a warning. Default: what the source sends.",
        ),
    ] = None,
    critical_fps: Annotated[
        float | None, typer.Option("--critical-fps", min=0, metavar="FPS", help="Fewer frames a second: critical.")
    ] = None,
    timeout_s: TimeoutOption = DEFAULT_TIMEOUT_S,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Check one camera: its state, its frames a second and its latency.

    Example: countline check camera door --warning-latency 0.5 --critical-latency 2
    """

    async def question(client: Client) -> CheckResult:
        check_order(warning_latency, critical_latency)
        check_order(warning_fps, critical_fps, lower=True)
        found = (await client.cameras.GetCamera(GetCameraRequest(camera_id=camera_id))).camera
        return check_camera(found, CameraLimits(warning_latency, critical_latency, warning_fps, critical_fps))

    run_check("camera", question, server, data, timeout_s, as_json=json)


@app.command("workers")
def workers(
    least: Annotated[int, typer.Option("--least", min=0, help="Fewer online workers are critical.")] = 1,
    warning_spool: Annotated[
        float, typer.Option("--warning-spool", min=0, metavar="MIB", help="Records that wait in a spool: a warning.")
    ] = 100,
    critical_spool: Annotated[
        float, typer.Option("--critical-spool", min=0, metavar="MIB", help="Records that wait in a spool: critical.")
    ] = 1024,
    timeout_s: TimeoutOption = DEFAULT_TIMEOUT_S,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Check the workers: how many are online, their spools and their clocks. An offline worker is a warning.

    Example: countline check workers --least 2
    """

    async def question(client: Client) -> CheckResult:
        check_order(warning_spool, critical_spool)
        found = await every_page(
            lambda token: client.workers.ListWorkers(ListWorkersRequest(page_token=token)),
            lambda answer: answer.workers,
        )
        return check_workers(found, least, warning_spool * MIB, critical_spool * MIB)

    run_check("workers", question, server, data, timeout_s, as_json=json)


@app.command("ingest")
def ingest(
    warning: Annotated[
        float, typer.Option("--warning", "-w", min=0, metavar="SECONDS", help="Age of the oldest record: a warning.")
    ] = 60,
    critical: Annotated[
        float, typer.Option("--critical", "-c", min=0, metavar="SECONDS", help="Age of the oldest record: critical.")
    ] = 300,
    timeout_s: TimeoutOption = DEFAULT_TIMEOUT_S,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Check that ingest writes counts to the database: how long records wait for it, and that it reads at all.

    Example: countline check ingest --warning 30 --critical 120
    """

    async def question(client: Client) -> CheckResult:
        check_order(warning, critical)
        found = await _streams(client)
        until = time.monotonic() + READS_WITHIN_S
        while not reads_now(found) and time.monotonic() < until:
            await asyncio.sleep(ASK_AGAIN_S)
            found = await _streams(client)
        return check_ingest(found, warning, critical)

    run_check("ingest", question, server, data, timeout_s, as_json=json)


@app.command("dlq")
def dlq(
    warning: Annotated[
        int, typer.Option("--warning", "-w", min=1, metavar="N", help="So many dead letters are a warning.")
    ] = 1,
    critical: Annotated[
        int, typer.Option("--critical", "-c", min=1, metavar="N", help="So many dead letters are critical.")
    ] = 100,
    timeout_s: TimeoutOption = DEFAULT_TIMEOUT_S,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Check for dead letters: messages that could not be processed and are kept in the stream DLQ.

    Example: countline check dlq --critical 10
    """

    async def question(client: Client) -> CheckResult:
        check_order(warning, critical)
        return check_dlq(await _streams(client), warning, critical)

    run_check("dlq", question, server, data, timeout_s, as_json=json)


@app.command("server")
def server_(
    warning: Annotated[
        float, typer.Option("--warning", "-w", min=0, metavar="SECONDS", help="Time of the slowest answer: a warning.")
    ] = 1,
    critical: Annotated[
        float, typer.Option("--critical", "-c", min=0, metavar="SECONDS", help="Time of the slowest answer: critical.")
    ] = 5,
    gateway: Annotated[bool, typer.Option("--gateway/--no-gateway", help="Check the gateway of REST too.")] = True,
    timeout_s: TimeoutOption = DEFAULT_TIMEOUT_S,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Check that the services and the gateway answer. This needs no login.

    Example: countline check server --server counts.example.org --warning 0.5
    """

    async def question(client: Client) -> CheckResult:
        check_order(warning, critical)
        answers = await answers_of_services(client, max(0.05, timeout_s * 0.9), with_gateway=gateway)
        return check_server(answers, warning, critical)

    run_check("server", question, server, data, timeout_s, as_json=json)


async def _streams(client: Client) -> list[MessageStream]:
    answer = await client.parts.ListMessageStreams(ListMessageStreamsRequest())
    return list(answer.streams)
