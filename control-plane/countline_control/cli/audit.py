"""`countline audit`."""

import json as json_lines
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Annotated, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from countline.v1.audit_pb2 import (
    AuditRecord,
    AuditRow,
    ExportAuditRequest,
    ExportAuditResponse,
    GetAuditRowRequest,
    ListAuditRowsRequest,
    ListAuditRowsResponse,
    VerifyAuditRequest,
    VerifyAuditResponse,
)
from countline_common.cli.tools import (
    DataOption,
    JsonOption,
    ServerOption,
    ask,
    note,
    print_json,
    print_message,
    print_table,
    say,
)
from countline_common.errors import InvalidInputError
from countline_common.files.text_files import read_text
from countline_common.grpc.client import Client
from countline_common.grpc.paging import first_items
from countline_common.http.rest_json import to_json
from countline_common.times import from_timestamp, parse_rfc3339, to_datetime, to_timestamp

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List, export and verify the audit.")

VERIFY_TIMEOUT_S: Final = 600.0

ActorOption = Annotated[str, typer.Option("--actor", help="Name or id of the caller.")]
OnBehalfOfOption = Annotated[
    str, typer.Option("--on-behalf-of", help="Name or id of the user for whom the caller acts.")
]
ResourceOption = Annotated[str, typer.Option("--resource", help="Such as cameras/door; cameras/ for all cameras.")]
MethodOption = Annotated[str, typer.Option("--method", help="Such as UpdateCamera.")]
OutcomeOption = Annotated[str, typer.Option("--outcome", help="Such as OK or NOT_FOUND; refused for all but OK.")]
StartOption = Annotated[str, typer.Option("--start", help="First moment, such as 2026-03-01T00:00:00Z.")]
EndOption = Annotated[str, typer.Option("--end", help="Moment behind the last one.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Most rows to print.")]


@app.command("list")
def list_(
    actor: ActorOption = "",
    on_behalf_of: OnBehalfOfOption = "",
    resource: ResourceOption = "",
    method: MethodOption = "",
    outcome: OutcomeOption = "",
    start: StartOption = "",
    end: EndOption = "",
    limit: LimitOption = 100,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """List the calls that changed something, and the refused ones; the newest first.

    Example: countline audit list --resource cameras/ --outcome refused
    """
    wanted = ListAuditRowsRequest(
        actor=actor,
        on_behalf_of=on_behalf_of,
        resource=resource,
        method=method,
        outcome=outcome,
        start=_moment(start),
        end=_moment(end),
    )

    async def question(client: Client) -> list[AuditRecord]:
        def ask_page(size: int, token: str) -> Awaitable[ListAuditRowsResponse]:
            wanted.page_size, wanted.page_token = size, token
            return client.audit.ListAuditRows(wanted)

        return await first_items(limit, ask_page, lambda answer: answer.records)

    records = ask(server, data, question)
    if json:
        print_json([to_json(record) for record in records])
        return
    rows = [
        (
            str(record.sequence),
            _shown_time(record.row.at),
            _caller(record.row),
            record.row.method.rpartition("/")[2],
            record.row.resource,
            record.row.outcome,
        )
        for record in records
    ]
    print_table(("ROW", "TIME", "WHO", "METHOD", "RESOURCE", "OUTCOME"), rows, "No rows found.")


@app.command("show")
def show(
    sequence: Annotated[int, typer.Argument(min=1, help="Number of the row, see: countline audit list.")],
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Show a row and what it changed.

    Example: countline audit show 42
    """

    async def question(client: Client) -> AuditRecord:
        return (await client.audit.GetAuditRow(GetAuditRowRequest(sequence=sequence))).row

    record = ask(server, data, question)
    if json:
        print_message(record)
        return
    row = record.row
    for name, value in (
        ("time", _shown_time(row.at)),
        ("who", f"{row.actor.name or '(unknown)'} ({row.actor.subject})" if row.actor.subject else "(unknown)"),
        ("on behalf of", row.on_behalf_of.name),
        ("address", row.address),
        ("method", row.method),
        ("resource", row.resource),
        ("outcome", f"{row.outcome}: {row.problem}" if row.problem else row.outcome),
        ("request", row.request_id),
        ("stored", _shown_time(record.received_at)),
        ("hash", record.hash),
    ):
        if value:
            say(f"{name:<13} {value}")
    for change in row.changes:
        say(f"  {change.path}: {change.before or '(none)'} -> {change.after or '(none)'}")
    if row.omitted_changes:
        say(f"  and {row.omitted_changes} more changes")


@app.command("export")
def export(server: ServerOption = None, data: DataOption = None) -> None:
    """Print the whole chain as JSON lines: the public key, then rows and the checkpoints that sign them.

    Each row holds the text that was hashed, so that another program can check the chain; see docs/audit.md.

    Example: countline audit export > audit.jsonl
    """

    async def question(client: Client) -> int:
        count = 0
        async for response in _pages(client):
            if count == 0:
                _print_line({"public_key": response.public_key})
            for record in response.records:
                _print_line({"sequence": record.sequence, "hash": record.hash, "hashed_text": record.hashed_text})
            for checkpoint in response.checkpoints:
                _print_line({"checkpoint": to_json(checkpoint) | {"signature": checkpoint.signature.hex()}})
            count += len(response.records)
        return count

    note(f"Exported rows: {ask(server, data, question)}.")


@app.command("verify")
def verify(json: JsonOption = False, server: ServerOption = None, data: DataOption = None) -> None:
    """Check every row against its hash, and the chain against the signed checkpoints. Exits with 1 if a row is wrong.

    Example: countline audit verify
    """

    async def question(client: Client) -> VerifyAuditResponse:
        return await client.audit.VerifyAudit(VerifyAuditRequest(), timeout=VERIFY_TIMEOUT_S)

    found = ask(server, data, question)
    if json:
        print_message(found)
    else:
        _print_finding(found)
    if not found.intact:
        raise typer.Exit(1)


def _print_finding(found: VerifyAuditResponse) -> None:
    span = f"rows {found.first_sequence} to {found.last_sequence}" if found.rows else "no rows"
    say(f"{'intact' if found.intact else 'NOT INTACT'}: {span}, signed up to row {found.signed_until}")
    for fault in found.faults:
        say(f"  row {fault.sequence}: {fault.kind}: {fault.problem}")
    if not found.jetstream_read:
        note("NATS did not answer: the checkpoints that it keeps were not compared.")
    if not found.protected:
        note("The service's role in PostgreSQL may change rows. Protect them: countline audit protect")


@app.command("protect")
def protect_(
    dsn_file: Annotated[
        Path, typer.Option("--dsn-file", help="File with postgresql://SUPERUSER:PASSWORD@HOST:PORT/auth.")
    ],
    role: Annotated[str, typer.Option("--role", help="Role with which the service of auth connects.")] = "auth",
) -> None:
    """Take the right to change and delete rows of the audit from the service's role in PostgreSQL.

    Example: countline audit protect --dsn-file superuser-dsn
    """
    from countline_control.audit.protection import protect

    protect(read_text(dsn_file).strip(), role)
    note(f"The role {role} can read and insert rows of the audit, and nothing else.")


async def _pages(client: Client) -> AsyncIterator[ExportAuditResponse]:
    after = 0
    while True:
        response = await client.audit.ExportAudit(ExportAuditRequest(after=after))
        yield response
        after = response.next_after
        if not after:
            return


def _print_line(value: object) -> None:
    sys.stdout.write(json_lines.dumps(value, ensure_ascii=False) + "\n")


def _moment(text: str) -> Timestamp | None:
    if not text:
        return None
    try:
        return to_timestamp(parse_rfc3339(text).timestamp())
    except ValueError as error:
        raise InvalidInputError(f"{text!r} is not a time", hint="write it like 2026-03-01T12:00:00Z") from error


def _caller(row: AuditRow) -> str:
    name = row.actor.name or "(unknown)"
    return f"{name} for {row.on_behalf_of.name}" if row.on_behalf_of.name else name


def _shown_time(moment: Timestamp) -> str:
    return f"{to_datetime(from_timestamp(moment)):%Y-%m-%d %H:%M:%S} UTC"
