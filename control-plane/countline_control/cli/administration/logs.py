"""`countline logs`."""

import asyncio
import json as json_lines
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from countline.v1.logs_pb2 import ListLogLinesRequest, ListLogLinesResponse, LogLine
from countline_common.cli.terminal import Styled, Terminal
from countline_common.cli.tools import DataOption, ServerOption, ask, note
from countline_common.errors import CountlineError, InvalidInputError, NotFoundError, UnavailableError
from countline_common.grpc.client import Client
from countline_common.grpc.discovery import discover
from countline_common.grpc.errors import translated
from countline_common.http.rest_json import to_json
from countline_common.logbook.files import read_files
from countline_common.logbook.lines import LEVELS, LineFilter
from countline_common.resilience.retry import Backoff
from countline_common.settings import DataFolder
from countline_common.times import from_timestamp, parse_rfc3339, to_datetime, to_timestamp

FOLLOW_PERIOD_S: Final = 1.0
CALL_TIMEOUT_S: Final = 15.0
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN: Final = re.compile(r"(\d{1,6})([smhd])")
_STYLES: Final = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}


def logs(
    part: Annotated[str, typer.Option("--part", help="Part, such as control, api, ingest or worker.")] = "",
    level: Annotated[str, typer.Option("--level", help=f"Least level: {', '.join(LEVELS)}.")] = "",
    request_id: Annotated[str, typer.Option("--request-id", help="Id of a request, as errors show it.")] = "",
    camera: Annotated[str, typer.Option("--camera", help="Camera.")] = "",
    text: Annotated[str, typer.Option("--text", help="Text that a line contains, in upper or lower case.")] = "",
    since: Annotated[str, typer.Option("--since", help="Age or time: 10m, 2h, 1d, 2026-03-01T12:00:00Z.")] = "",
    until: Annotated[str, typer.Option("--until", help="Age or time of the end.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="Most lines to print.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines as they come.")] = False,
    files: Annotated[
        bool, typer.Option("--files", help="Read the log files of the data folder: also PostgreSQL, NATS, Triton.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each line.")] = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Print recent log lines of all parts (system:admin). While nothing answers: from the files of the data folder.

    Example: countline logs --part worker --level warning --since 1h --follow
    """
    start_s = _moment("--since", since) if since else float("-inf")
    end_s = _moment("--until", until) if until else float("inf")
    wanted = LineFilter(part, level.lower(), request_id, camera, text, start_s, end_s)
    printer = _Printer(as_json=json)
    if files:
        if follow or server:
            raise InvalidInputError("--files reads the files of this machine once", hint="omit --follow and --server")
        printer.print(_in_files(DataFolder.resolve(data), wanted, limit))
        return
    request = _request(wanted, limit)

    async def question(client: Client) -> None:
        answer = await client.logs.ListLogLines(request, timeout=CALL_TIMEOUT_S)
        printer.print_answer(answer)
        while follow:
            await asyncio.sleep(FOLLOW_PERIOD_S)
            request.after = answer.next_after
            answer = await _next(client, request)
            printer.print_answer(answer)

    try:
        ask(server, data, question)
    except (UnavailableError, NotFoundError) as error:
        if not (folder := _local_folder(server, data)):
            raise
        note(f"{error.message}. These lines are from the files in {folder.logs}:")
        printer.print(_in_files(folder, wanted, limit))
        if follow:
            raise


async def _next(client: Client, request: ListLogLinesRequest) -> ListLogLinesResponse:
    """Return what came since the last answer, however long the server is away."""
    backoff, has_noted = Backoff(longest_s=5.0), False
    while True:
        try:
            with translated(client.endpoints.auth):
                return await client.logs.ListLogLines(request, timeout=CALL_TIMEOUT_S)
        except UnavailableError as error:
            if not has_noted:
                note(f"{error.message}; waiting for it…")
            has_noted = True
            await asyncio.sleep(backoff.next_s())


def _local_folder(server: str | None, data: Path | None) -> DataFolder | None:
    """Return the data folder of this machine whose server the command talks to; None for a server elsewhere."""
    try:
        folder = discover(server, data).data
    except NotFoundError:
        folder = DataFolder.resolve(data)  # no Countline has run here yet, or the file of its addresses is gone
    except CountlineError:
        return None
    return folder if folder is not None and folder.logs.is_dir() else None


def _in_files(folder: DataFolder, wanted: LineFilter, limit: int) -> list[LogLine]:
    if not folder.logs.is_dir():
        raise NotFoundError(f"there are no log files in {folder.logs}", hint="name the data folder with --data")
    try:
        return read_files(folder.logs, wanted, limit)
    except OSError as error:
        raise InvalidInputError(
            f"cannot read the log files in {folder.logs}: {error.strerror}",
            hint="run the command as the user who runs Countline",
        ) from error


def _request(wanted: LineFilter, limit: int) -> ListLogLinesRequest:
    request = ListLogLinesRequest(
        page_size=limit,
        part=wanted.part,
        level=wanted.level,
        request_id=wanted.request_id,
        camera_id=wanted.camera_id,
        text=wanted.text,
    )
    if wanted.start_s != float("-inf"):
        request.start.CopyFrom(to_timestamp(wanted.start_s))
    if wanted.end_s != float("inf"):
        request.end.CopyFrom(to_timestamp(wanted.end_s))
    return request


def _moment(option: str, text: str) -> float:
    """Return an age or a time in Unix seconds."""
    if match := _SPAN.fullmatch(text):
        return time.time() - int(match[1]) * _UNITS[match[2]]
    try:
        return parse_rfc3339(text).timestamp()
    except ValueError as error:
        raise InvalidInputError(
            f"{option} {text!r} is neither an age nor a time", hint="write it like 10m, 2h, 1d or 2026-03-01T12:00:00Z"
        ) from error


class _Printer:
    """Prints lines to standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._terminal = Terminal()

    def print_answer(self, answer: ListLogLinesResponse) -> None:
        """Print the lines of an answer, and what is missing."""
        self.print(answer.lines)
        if answer.incomplete:
            note("Older lines were not searched: there are too many. Give --part, --since or --until.")
        if answer.dropped:
            note(f"The parts dropped {answer.dropped} lines because they logged too much at once.")

    def print(self, lines: Iterable[LogLine]) -> None:
        """Print lines, at once also into a pipe."""
        for line in lines:
            if self._as_json:
                sys.stdout.write(json_lines.dumps(to_json(line), ensure_ascii=False) + "\n")
            else:
                self._terminal.print(_text(line), soft_wrap=True)
        sys.stdout.flush()


def _text(line: LogLine) -> Styled:
    at = to_datetime(from_timestamp(line.at))
    known = {"camera": line.camera_id, "request_id": line.request_id, **dict(sorted(line.fields.items()))}
    words = [f"{name}={_quoted(value)}" for name, value in known.items() if value]
    head = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}Z {line.part:<10} {line.level:<8} {line.event}"
    text = Styled(" ".join([head, *words]), _STYLES.get(line.level, ""))
    if line.exception:
        text.append(f"\n{line.exception}")
    return text


def _quoted(value: str) -> str:
    return json_lines.dumps(value, ensure_ascii=False) if not value or re.search(r"\s|\"", value) else value
