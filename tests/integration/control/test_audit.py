"""The audit on real servers: stored once through outages, verified after tampering, purged, closed to its own role."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import nats
import psycopg
import pytest
import structlog
from nats.js.errors import APIError, NotFoundError
from psycopg import sql
from tests.fixtures.analytics.stack import until
from tests.fixtures.nats import NatsServer
from tests.fixtures.postgres import PostgresServer

from countline.v1 import administration_pb2, audit_pb2, cameras_pb2
from countline.v1.audit_pb2 import AuditRecord, AuditRow, VerifyAuditResponse
from countline.v1.cameras_pb2 import Site
from countline_common.data import bus
from countline_common.data.database import migrate
from countline_common.grpc.errors import from_rpc_error
from countline_common.resilience.vitality import problems
from countline_common.times import to_timestamp
from countline_control.audit import store
from countline_control.audit.chain import AuditSigner, new_audit_key
from countline_control.audit.intake import AuditIntake
from countline_control.audit.protection import protect
from countline_control.audit.setup import audit_signer
from countline_control.audit.upkeep import AuditUpkeep, published_checkpoints
from countline_control.database import Database

from .conftest import Control


async def listed(control: Control, **filters: object) -> list[AuditRecord]:
    request = audit_pb2.ListAuditRowsRequest(**filters)
    return list((await control.caller("admin").audit.ListAuditRows(request)).records)


async def add_site(control: Control, site_id: str) -> None:
    site = Site(site_id=site_id, time_zone="UTC")
    await control.caller("admin").cameras.CreateSite(cameras_pb2.CreateSiteRequest(site=site))


async def verified(control: Control) -> VerifyAuditResponse:
    return await control.caller("admin").audit.VerifyAudit(audit_pb2.VerifyAuditRequest())


async def resources(control: Control) -> list[str]:
    return [record.row.resource for record in reversed(await listed(control))]


async def test_rows_of_an_outage_arrive_later_once_with_the_time_they_happened(
    control_dsn: str, nats_server: NatsServer, start_control
) -> None:
    control = await start_control(control_dsn, nats_url=nats_server.url)
    await add_site(control, "before")
    await until(lambda: _has(control, "sites/before"))
    await nats_server.kill()
    await add_site(control, "during")
    (during,) = _outbox(control_dsn, "during")
    assert "sites/during" not in await resources(control)
    await nats_server.start()
    await until(lambda: _has(control, "sites/during"))
    await add_site(control, "after")
    await until(lambda: _has(control, "sites/after"))
    assert await resources(control) == ["sites/before", "sites/during", "sites/after"]
    (row,) = [record.row for record in await listed(control, resource="sites/during")]
    assert row.at == during.at
    assert (await verified(control)).intact


async def test_what_is_no_row_goes_to_the_dead_letters_once_with_the_reason(
    control_dsn: str, nats_server: NatsServer, start_control
) -> None:
    control = await start_control(control_dsn, nats_url=nats_server.url)
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    await js.publish("countline.audit.rows.cameras", b"\xff no row")
    await add_site(control, "after")
    await until(lambda: _has(control, "sites/after"))
    letter = await js.get_last_msg(bus.DLQ, "countline.dlq.AUDIT")
    assert letter.data == b"\xff no row"
    assert letter.headers is not None
    assert letter.headers["Countline-Reason"].startswith("no row of the audit")
    assert letter.headers["Nats-Msg-Id"] == f"AUDIT-{letter.headers['Countline-Stream-Sequence']}"
    await client.close()


def _row(number: int) -> AuditRow:
    return AuditRow(
        row_id=f"row-{number}",
        at=to_timestamp(1_800_000_000 + number),
        actor=audit_pb2.AuditActor(subject="u1", name="ann" if number % 2 else "bob"),
        on_behalf_of=audit_pb2.AuditActor(subject="v1", name="vera") if number % 5 == 0 else None,
        method="countline.v1.CameraService/UpdateCamera",
        resource=f"cameras/c{number}",
        outcome="OK" if number % 3 else "NOT_FOUND",
        changes=[audit_pb2.FieldChange(path="title", before='"Türe"', after='"\x00\\u0000"')],
    )


def _of(method: str, number: int, **fields: object) -> AuditRow:
    row = _row(number)
    row.MergeFrom(AuditRow(method=method, **fields))
    return row


@pytest.mark.parametrize(
    ("subject", "row", "reason"),
    [
        ("cameras", _of("countline.v1.AuthService/DeleteUser", 1), "comes on countline.audit.rows.auth, not on"),
        ("auth", _of("countline.v1.CameraService/DeleteCamera", 1), "comes on countline.audit.rows.cameras, not on"),
        ("auth", _of("countline.v1.CountService/CreateTruthSet", 1), "comes on countline.audit.rows.analytics"),
        ("cameras", _of("unknown", 1), "comes on countline.audit.rows.auth, not on"),
        (
            "auth",
            _of("countline.v1.AuthService/Login", 1, actor={"name": secrets.token_hex(6000)}),
            "index row requires",
        ),
        ("auth", _of("countline.v1.AuthService/Login", 1, at={"seconds": 2**62}), "out of range"),
        ("auth", _of("countline.v1.AuthService/Login", 1, row_id="\0"), "NUL"),
    ],
)
async def test_a_row_that_is_not_its_senders_or_that_postgresql_refuses_goes_to_the_dead_letters(
    control: Control, nats_server: NatsServer, subject: str, row: AuditRow, reason: str
) -> None:
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    good = _of("countline.v1.AuthService/DeleteUser", 2, resource="users/after")
    for each, name in ((row, subject), (good, "auth")):
        await js.publish(bus.audit_subject(name), each.SerializeToString())
    await until(lambda: _has(control, "users/after"))

    async def is_empty() -> bool:
        return (await js.stream_info(bus.AUDIT)).state.messages == 0

    await until(is_empty)
    letter = await js.get_last_msg(bus.DLQ, "countline.dlq.AUDIT")
    assert (letter.data, letter.headers is not None) == (row.SerializeToString(), True)
    assert reason in letter.headers["Countline-Reason"]
    assert await resources(control) == ["users/after"]
    await client.close()


async def test_nats_refuses_to_delete_and_purge_messages_of_the_audit_also_in_streams_of_an_earlier_release(
    nats_server: NatsServer,
) -> None:
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    for name in (bus.AUDIT, bus.AUDIT_CHECKPOINTS):
        (config,) = [each for each in bus.stream_configs() if each.name == name]
        with contextlib.suppress(NotFoundError):
            await js.delete_stream(name)
        await js.add_stream(config.evolve(deny_delete=False, deny_purge=False, max_bytes=bus.MIB))
    await bus.ensure_streams(js)
    for name, subject in ((bus.AUDIT, bus.audit_subject("auth")), (bus.AUDIT_CHECKPOINTS, bus.CHECKPOINT_SUBJECTS)):
        sent = await js.publish(subject.replace(">", "rows"), b"x")
        for attempt in (js.purge_stream(name), js.delete_msg(name, sent.seq)):
            with pytest.raises(APIError, match="not permitted"):
                await attempt
        kept = await js.stream_info(name)
        assert (kept.state.messages, kept.config.max_bytes) == (1, bus.MIB)
    await js.delete_stream(bus.AUDIT)
    await js.delete_stream(bus.AUDIT_CHECKPOINTS)
    await bus.ensure_streams(js)
    await client.close()


async def _has(control: Control, resource: str) -> bool:
    return resource in await resources(control)


def _outbox(dsn: str, site_id: str) -> list[AuditRow]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT payload FROM cameras.outbox WHERE subject = 'countline.audit.rows.cameras'")
        found = [AuditRow.FromString(payload) for (payload,) in rows]
    return [row for row in found if row.resource == f"sites/{site_id}"]


class Audit:
    """The parts of the audit on a database and a NATS, without a control-plane."""

    def __init__(self, dsn: str, client: nats.NATS, signer: AuditSigner) -> None:
        self.database = Database(dsn)
        self.dsn = dsn
        self.signer = signer
        self.public = signer.public
        self.intake = AuditIntake(self.database, signer, client.jetstream)
        self.upkeep = AuditUpkeep(self.database, signer, client.jetstream, retention_days=lambda: 30)

    async def add(self, first: int, last: int) -> None:
        """Store rows as if services had sent them."""
        await self.intake.store([_row(number) for number in range(first, last + 1)])

    async def signed(self) -> int:
        """Return the sequence of the last checkpoint."""
        return (await self.database.read(lambda connection: store.last_signed(connection, self.public)))[0]

    def insert_unguarded(self, *statements: str) -> None:
        """Insert what an earlier release let the role of the service insert."""
        tables = ("audit.audit_logs", "audit.checkpoints")
        switches = [[f"ALTER TABLE {name} {verb} TRIGGER guard" for name in tables] for verb in ("DISABLE", "ENABLE")]
        self.execute(*switches[0], *statements, *switches[1])

    def execute(self, *statements: str) -> None:
        """Change the database as its superuser can."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@pytest.fixture
async def control(control_dsn: str, nats_server: NatsServer, start_control) -> Control:
    """The control-plane's part that keeps the audit, with NATS."""
    return await start_control(control_dsn, ("auth",), nats_url=nats_server.url)


@pytest.fixture
async def audit(control: Control, control_dsn: str, nats_server: NatsServer, keys) -> AsyncIterator[Audit]:
    """The parts of its audit, to call them when a test wants."""
    client = await nats.connect(nats_server.url)
    await bus.ensure_streams(client.jetstream())
    audit = Audit(control_dsn, client, audit_signer(keys[0].with_name("audit-key.pem")))
    yield audit
    await audit.database.close()
    await client.close()


async def _faults(control: Control) -> set[str]:
    found = await verified(control)
    assert found.intact == (not found.faults)
    return {fault.kind for fault in found.faults}


UNSIGNED = "DELETE FROM audit.checkpoints"


@pytest.mark.parametrize(
    ("kinds", "statements"),
    [
        (
            {"changed"},
            ["UPDATE audit.audit_logs SET hashed_text = replace(hashed_text, 'ann', 'eve') WHERE sequence = 3"],
        ),
        ({"changed", "replaced"}, ["UPDATE audit.audit_logs SET hash = sha256('x') WHERE sequence = 6"]),
        ({"missing"}, ["DELETE FROM audit.audit_logs WHERE sequence = 3"]),
        ({"missing"}, ["DELETE FROM audit.audit_logs WHERE sequence <= 2"]),
        ({"cut_off"}, ["DELETE FROM audit.audit_logs WHERE sequence >= 5"]),
        ({"cut_off", "checkpoint_missing"}, ["DELETE FROM audit.audit_logs WHERE sequence >= 5", UNSIGNED]),
        ({"missing", "checkpoint_missing"}, ["TRUNCATE audit.audit_logs", UNSIGNED]),
        ({"checkpoint_forged", "checkpoint_missing"}, ["UPDATE audit.checkpoints SET signature = '\\x00'"]),
        (
            {"changed"},
            [
                "UPDATE audit.audit_logs SET sequence = 99 WHERE sequence = 2",
                "UPDATE audit.audit_logs SET sequence = 2 WHERE sequence = 3",
                "UPDATE audit.audit_logs SET sequence = 3 WHERE sequence = 99",
            ],
        ),
        (
            {"inserted"},
            [
                """INSERT INTO audit.audit_logs (sequence, hashed_text, hash, signature)
                   SELECT 7, '{"id":"x"}', sha256(hash || convert_to(E'7\\n{"id":"x"}', 'UTF8')), '\\x00'
                   FROM audit.audit_logs WHERE sequence = 6"""
            ],
        ),
    ],
)
async def test_tampering_with_the_database_is_found(
    control: Control, audit: Audit, kinds: set[str], statements: list[str]
) -> None:
    await audit.add(1, 6)
    await audit.upkeep.sign()
    await audit.upkeep.publish()
    assert await _faults(control) == set()
    audit.execute(*statements)
    assert await _faults(control) >= kinds


async def test_a_chain_that_is_made_anew_is_found(control: Control, audit: Audit, nats_server: NatsServer) -> None:
    """By somebody who may do everything in PostgreSQL; even with the key, JetStream knows more."""
    await audit.add(1, 6)
    await audit.upkeep.sign()
    await audit.upkeep.publish()
    audit.execute("TRUNCATE audit.audit_logs", "TRUNCATE audit.checkpoints")
    client = await nats.connect(nats_server.url)
    stranger = Audit(audit.dsn, client, AuditSigner(new_audit_key()))
    await stranger.add(11, 16)
    await stranger.upkeep.sign()
    assert await _faults(control) >= {"replaced", "checkpoint_forged", "checkpoint_missing"}
    audit.execute("TRUNCATE audit.audit_logs", "TRUNCATE audit.checkpoints")
    await audit.add(11, 16)
    await audit.upkeep.sign()
    assert await _faults(control) >= {"replaced", "checkpoint_missing"}
    await stranger.database.close()
    await client.close()


INSERTED_ROW = """INSERT INTO audit.audit_logs (sequence, hashed_text, hash, signature)
    SELECT {0}, '{{"id":"x{0}"}}', sha256(hash || convert_to(E'{0}\\n{{"id":"x{0}"}}', 'UTF8')), ''
    FROM audit.audit_logs WHERE sequence = {0} - 1"""


async def found_faults(control: Control) -> list[tuple[str, int]]:
    return [(fault.kind, fault.sequence) for fault in (await verified(control)).faults]


async def test_the_chain_goes_on_behind_rows_that_somebody_inserted_and_verify_names_exactly_those(
    control: Control, audit: Audit
) -> None:
    """No later row got a checkpoint: removing rows at the end left no trace, for good."""
    await audit.add(1, 2)
    await audit.upkeep.sign()  # unless the control-plane's own upkeep was faster
    assert await audit.signed() == 2
    assert await audit.upkeep.sign() is None, "nothing new"
    audit.execute(INSERTED_ROW.format(3), INSERTED_ROW.format(4))
    assert await found_faults(control) == [("inserted", 3), ("inserted", 4)]
    with structlog.testing.capture_logs() as lines:
        assert await audit.upkeep.sign() is not None
    (line,) = [line for line in lines if line["event"] == "audit.tampered"]
    assert (line["kind"], line["first"], line["last"]) == ("inserted", 3, 4)
    assert "row 3" in problems()["audit"]
    assert "countline audit verify" in problems()["audit"]
    finding = (await listed(control))[0].row
    assert (finding.actor.name, finding.resource, finding.outcome) == (
        "countline audit", "audit/rows/3-4", "TAMPERED",
    )  # fmt: skip
    await audit.add(3, 6)
    await audit.upkeep.sign()
    assert await audit.upkeep.sign() is None, "the finding is recorded once"
    assert await audit.signed() == (await verified(control)).last_sequence == 9
    assert await found_faults(control) == [("inserted", 3), ("inserted", 4)]
    audit.execute("DELETE FROM audit.audit_logs WHERE sequence = 9")
    assert ("cut_off", 9) in await found_faults(control)


async def test_nobody_else_records_findings(control: Control, audit: Audit, nats_server: NatsServer) -> None:
    client = await nats.connect(nats_server.url)
    row = _of("system", 1, resource="audit/rows/1", outcome="TAMPERED")
    row.actor.name = "countline audit"
    await client.jetstream().publish(bus.audit_subject("cameras"), row.SerializeToString())
    good = _of("countline.v1.AuthService/DeleteUser", 2, resource="users/after")
    await client.jetstream().publish(bus.audit_subject("auth"), good.SerializeToString())
    await until(lambda: _has(control, "users/after"))
    assert await resources(control) == ["users/after"]
    letter = await client.jetstream().get_last_msg(bus.DLQ, "countline.dlq.AUDIT")
    assert letter.headers is not None
    assert "only the audit itself" in letter.headers["Countline-Reason"]
    await client.close()


FAR_ROW = """INSERT INTO audit.audit_logs (sequence, hashed_text, hash, signature)
             SELECT {sequence}, '{{"id":"far"}}', hash, signature FROM audit.audit_logs WHERE sequence = 2"""
FAR_CHECKPOINT = """INSERT INTO audit.checkpoints (sequence, purge, hash, at_us, key_id, signature)
                    SELECT {sequence}, purge, hash, 9223372036854775807, key_id, signature FROM audit.checkpoints"""


@pytest.mark.parametrize("sequence", [9223372036854775807, 5])
async def test_rows_are_stored_and_signed_although_somebody_inserted_one_further_on(
    control: Control, audit: Audit, sequence: int
) -> None:
    await audit.add(1, 2)
    await audit.upkeep.sign()
    audit.insert_unguarded(FAR_ROW.format(sequence=sequence))
    await audit.add(3, 8)
    await audit.upkeep.sign()
    stored = [record.sequence for record in await listed(control)]
    assert len(stored) == 9 + (sequence == 5), "the rows, and the finding about a row that the chain has reached"
    assert {*stored} >= {*range(1, 9 + 2 * (sequence == 5))}
    assert await audit.signed() == (8 if sequence > 9 else 10)
    assert await found_faults(control) >= ([("missing", 9)] if sequence > 9 else [("changed", 5)])
    assert str(sequence) in problems()["audit"]
    page = audit_pb2.ListAuditRowsRequest(page_size=1)
    page.page_token = (await control.caller("admin").audit.ListAuditRows(page)).next_page_token
    assert len((await control.caller("admin").audit.ListAuditRows(page)).records) == 1


async def test_rows_are_stored_behind_rows_that_somebody_inserted_at_the_end(control: Control, audit: Audit) -> None:
    await audit.add(1, 2)
    await audit.upkeep.sign()
    audit.execute(*(FAR_ROW.replace("far", f"far{each}").format(sequence=each) for each in (3, 4, 5)))
    await audit.add(6, 7)
    assert [record.sequence for record in await listed(control)] == [7, 6, 5, 4, 3, 2, 1]
    assert await _faults(control) >= {"changed"}


async def test_a_row_that_cannot_be_decoded_is_shown_as_such(control: Control, audit: Audit) -> None:
    await audit.add(1, 1)
    texts = ['{"id":"zz"}', "[" * 2000 + "]" * 2000, "7", '{"id":"yy","at_us":9223372036854775807}']
    for sequence, text in enumerate(texts, 2):
        audit.execute(
            f"""INSERT INTO audit.audit_logs (sequence, hashed_text, hash, signature)
                SELECT {sequence}, '{text}', sha256(hash || convert_to(E'{sequence}\n' || '{text}', 'UTF8')), ''
                FROM audit.audit_logs WHERE sequence = {sequence - 1}"""
        )
    await audit.add(2, 2)
    stub = control.caller("admin").audit
    for record in (await listed(control))[1:5]:
        assert record.row.method == f"undecodable row {record.sequence}"
        assert record.row.outcome == "UNDECODABLE"
        one = (await stub.GetAuditRow(audit_pb2.GetAuditRowRequest(sequence=record.sequence))).row
        assert one.row.problem.startswith(f"undecodable row {record.sequence}: ")
    export = await stub.ExportAudit(audit_pb2.ExportAuditRequest())
    assert [record.hashed_text for record in export.records[1:5]] == texts
    assert {fault.sequence for fault in (await verified(control)).faults if fault.kind == "inserted"} == {2, 3, 4, 5}


async def test_a_forged_checkpoint_stops_neither_signing_nor_publishing(
    control: Control, audit: Audit, nats_server: NatsServer
) -> None:
    await audit.add(1, 2)
    await audit.upkeep.sign()
    audit.insert_unguarded(FAR_CHECKPOINT.format(sequence=900_000_000_000))
    await audit.upkeep.publish()
    await audit.add(3, 4)
    await audit.upkeep.sign()
    assert await audit.signed() == 4
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    published = await published_checkpoints(js)
    assert 900_000_000_000 not in {each.sequence for each in published}
    forged = audit_pb2.AuditCheckpoint(sequence=900_000_000_000, hash="00", key_id="x", signature=b"x")
    for data in (forged.SerializeToString(), b"\xff"):
        await js.publish(bus.checkpoint_subject(purge=False), data)
    await audit.upkeep.publish()
    assert 4 in {each.sequence for each in await published_checkpoints(js)}
    export = await control.caller("admin").audit.ExportAudit(audit_pb2.ExportAuditRequest())
    assert {each.sequence for each in export.checkpoints} <= {1, 2, 3, 4}
    assert "checkpoint_forged" in await _faults(control)
    await client.close()


async def test_checkpoints_that_jetstream_lost_are_reported(
    control: Control, audit: Audit, nats_server: NatsServer
) -> None:
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    past = AuditUpkeep(audit.database, audit.signer, client.jetstream, clock=lambda: time.time() - 600)
    await audit.add(1, 2)
    assert await past.sign() is not None
    await audit.upkeep.publish()
    assert await _faults(control) == set()
    await js.delete_stream(bus.AUDIT_CHECKPOINTS)
    await bus.ensure_streams(js)
    assert await _faults(control) == {"checkpoint_unpublished"}
    await client.close()


async def test_a_row_that_is_delivered_again_is_stored_once_also_by_two_processes(audit: Audit) -> None:
    await asyncio.gather(*(audit.add(1, 30) for _ in range(4)))
    await audit.add(20, 40)
    rows = await audit.database.read(lambda connection: store.rows_behind(connection, 0, 100))
    assert [row.link.sequence for row in rows] == list(range(1, 41))


async def test_a_row_is_listed_by_its_filters_and_page_by_page(control: Control, audit: Audit) -> None:
    await audit.add(1, 12)
    newest = await listed(control)
    assert [record.sequence for record in newest] == list(range(12, 0, -1))
    assert (newest[0].row.changes[0].before, newest[0].row.resource) == ('"Türe"', "cameras/c12")
    assert {record.row.actor.name for record in await listed(control, actor="ann")} == {"ann"}
    assert [record.sequence for record in await listed(control, outcome="refused")] == [12, 9, 6, 3]
    assert [record.sequence for record in await listed(control, on_behalf_of="vera")] == [10, 5]
    assert [record.sequence for record in await listed(control, on_behalf_of="v1", actor="ann")] == [5]
    assert await listed(control, on_behalf_of="ann") == []
    assert [record.sequence for record in await listed(control, resource="cameras/c7")] == [7]
    assert len(await listed(control, resource="cameras/")) == 12
    assert await listed(control, resource="cameras/%") == []
    assert len(await listed(control, method="UpdateCamera")) == 12
    assert await listed(control, method="Camera") == []
    span = {"start": to_timestamp(1_800_000_003), "end": to_timestamp(1_800_000_005)}
    assert [record.sequence for record in await listed(control, **span)] == [4, 3]
    stub = control.caller("admin").audit
    first = await stub.ListAuditRows(audit_pb2.ListAuditRowsRequest(page_size=8, actor="ann"))
    rest = audit_pb2.ListAuditRowsRequest(page_size=3, page_token=first.next_page_token, actor="ann")
    assert first.next_page_token == ""
    first = await stub.ListAuditRows(audit_pb2.ListAuditRowsRequest(page_size=4, actor="ann"))
    rest.page_token = first.next_page_token
    second = await stub.ListAuditRows(rest)
    assert [each.sequence for each in (*first.records, *second.records)] == [11, 9, 7, 5, 3, 1]
    for name, value in (("actor", "bob"), ("on_behalf_of", "vera")):
        other = audit_pb2.ListAuditRowsRequest()
        other.CopyFrom(rest)
        setattr(other, name, value)
        with pytest.raises(Exception, match="other filters"):
            await stub.ListAuditRows(other)


async def test_an_export_can_be_checked_without_countline(control: Control, audit: Audit) -> None:
    """By SHA-256 and Ed25519 alone, as docs/audit.md describes it."""
    import hashlib

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    await audit.add(1, 5)
    await audit.upkeep.sign()
    export = await control.caller("admin").audit.ExportAudit(audit_pb2.ExportAuditRequest(limit=3))
    assert export.next_after == 3
    more = await control.caller("admin").audit.ExportAudit(audit_pb2.ExportAuditRequest(after=3, limit=3))
    previous = bytes(32)
    for record in (*export.records, *more.records):
        text = f"{record.sequence}\n{record.hashed_text}".encode()
        previous = hashlib.sha256(previous + text).digest()
        assert previous.hex() == record.hash
    (checkpoint,) = more.checkpoints
    key = load_pem_public_key(more.public_key.encode())
    assert isinstance(key, Ed25519PublicKey)
    at_us = checkpoint.at.seconds * 1_000_000 + checkpoint.at.nanos // 1000
    signed = f"countline audit rows\n{checkpoint.sequence}\n{checkpoint.hash}\n{at_us}\n{checkpoint.key_id}\n"
    key.verify(checkpoint.signature, signed.encode())
    assert checkpoint.hash == previous.hex()


async def test_after_a_purge_the_rest_of_the_chain_is_intact(control: Control, audit: Audit) -> None:
    await audit.add(1, 6)
    await audit.upkeep.sign()
    assert await audit.upkeep.purge() == 0, "all rows are young"
    audit.execute("UPDATE audit.audit_logs SET received_at = now() - interval '31 days' WHERE sequence <= 4")
    assert await audit.upkeep.purge() == 4
    found = await verified(control)
    assert (found.intact, found.first_sequence, found.last_sequence) == (True, 5, 6)
    audit.execute("DELETE FROM audit.audit_logs WHERE sequence = 5")
    assert await _faults(control) == {"missing"}


async def test_the_checkpoint_of_a_purge_is_published_also_if_nats_refuses_it_at_first(
    control: Control, audit: Audit, nats_server: NatsServer
) -> None:
    """It was never published: the database driver does not count the rows that an INSERT adds."""
    await audit.add(1, 6)
    await audit.upkeep.sign()
    await audit.upkeep.publish()
    audit.execute("UPDATE audit.audit_logs SET received_at = now() - interval '31 days' WHERE sequence <= 4")
    client = await nats.connect(nats_server.url)
    # It is not deleted: the control-plane under test would make it anew at any moment.
    config = (await client.jetstream().stream_info(bus.AUDIT_CHECKPOINTS)).config
    await client.jetstream().update_stream(config.evolve(max_msg_size=1))
    with pytest.raises(APIError, match="message size exceeds maximum allowed"):
        await audit.upkeep.purge()
    await client.jetstream().update_stream(config)
    await audit.upkeep.publish()
    published = await published_checkpoints(client.jetstream())
    (purge,) = [each for each in published if each.purge]
    assert (purge.sequence, abs(purge.at_us / 1e6 - time.time()) < 60) == (4, True)
    assert (await verified(control)).first_sequence == 5
    assert await _faults(control) == set()
    assert await audit.upkeep.purge() == 0
    await client.close()


async def test_rows_that_no_checkpoint_covers_are_not_purged(control: Control, audit: Audit) -> None:
    """Such as a row that somebody inserted: it is evidence."""
    await audit.add(1, 2)
    await audit.upkeep.sign()
    audit.execute(
        "INSERT INTO audit.audit_logs (sequence, hashed_text, hash, signature) VALUES (3, '{\"id\":\"x\"}', '', '')",
        "UPDATE audit.audit_logs SET received_at = now() - interval '31 days'",
    )
    assert await audit.upkeep.purge() == 2
    assert (await verified(control)).first_sequence == 3
    with (
        psycopg.connect(audit.dsn) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="covers the rows"),
    ):
        connection.execute(f"SELECT audit.purge(3, 30, {NOW}, 'k', '')".encode())


async def test_a_changed_retention_purges_within_5_s(control: Control, audit: Audit) -> None:
    await audit.add(1, 6)
    await audit.upkeep.sign()
    audit.execute("UPDATE audit.audit_logs SET received_at = now() - interval '31 days' WHERE sequence <= 4")
    request = administration_pb2.SetSettingRequest(name="retention.audit_days", value="30")
    await control.caller().administration.SetSetting(request)

    async def is_purged() -> bool:
        found = await verified(control)
        return found.intact and found.first_sequence == 5

    await until(is_purged, 5.0)
    for wrong in ("29", "-1"):
        request = administration_pb2.SetSettingRequest(name="retention.audit_days", value=wrong)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await control.caller().administration.SetSetting(request)
        assert "from 30 to 36500, or 0" in from_rpc_error(caught.value).hint


async def test_the_role_of_the_service_may_read_and_insert_and_nothing_else(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    dsn, role = postgres.create_database(), f"auth_{tmp_path.name[-20:].replace('-', '_')}"
    name = dsn.rpartition("/")[2]
    with psycopg.connect(dsn, autocommit=True) as root:
        root.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role)))
        root.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(role)))
    own = _as_role(dsn, role)
    await migrate(own, "countline_control.auth", "auth")
    database = Database(own)
    assert not await database.read(store.is_protected)
    for _ in range(2):  # it can be repeated
        await asyncio.to_thread(protect, dsn, role)
    try:
        assert await database.read(store.is_protected)
        signer = AuditSigner(new_audit_key())
        await AuditIntake(database, signer, lambda: None).store([_row(1), _row(2)])
        assert await AuditUpkeep(database, signer, lambda: None).sign() is not None
        assert _may(own, FAR_ROW.format(sequence=3)), "the next row"
        permitted = [each for each in FORBIDDEN if _may(own, each.replace("{database}", name))]
        assert permitted == []
        with (
            psycopg.connect(own, autocommit=True) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="must be owner of database"),
        ):
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        with psycopg.connect(dsn, autocommit=True) as root:
            root.execute("UPDATE audit.audit_logs SET received_at = now() - interval '40 days' WHERE sequence = 1")
        with psycopg.connect(own) as connection:
            for values, problem in PURGES.items():
                with pytest.raises(psycopg.errors.RaiseException, match=problem), connection.transaction():
                    connection.execute(f"SELECT audit.purge({values})".encode())
        await migrate(own, "countline_control.auth", "auth")  # a restart
        for grant in LATER_GRANTS:
            with psycopg.connect(dsn, autocommit=True) as root:
                root.execute(sql.SQL(grant).format(role=sql.Identifier(role), database=sql.Identifier(name)))
            assert not await database.read(store.is_protected), grant
            await asyncio.to_thread(protect, dsn, role)
            assert await database.read(store.is_protected), grant
    finally:
        await database.close()
        postgres.drop_database(dsn)
        with psycopg.connect(postgres.dsn(), autocommit=True) as root:
            root.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _as_role(dsn: str, role: str) -> str:
    return f"postgresql://{role}:x@{dsn.rpartition('@')[2]}"


def _may(dsn: str, statement: str) -> bool:
    with psycopg.connect(dsn) as connection:
        try:
            connection.execute(statement.encode())
        except psycopg.Error:
            return False
        connection.rollback()
    return True


FORGED_PURGE = """
    INSERT INTO audit.checkpoints (sequence, purge, hash, at_us, key_id, signature)
    SELECT 1, true, hash, 1, 'k', '' FROM audit.audit_logs WHERE sequence = 1
"""
NOW = "(extract(epoch FROM now()) * 1e6)::bigint"
PURGES = {
    f"1, 1, {NOW}, 'k', ''": "at least 30 days",
    f"1, NULL, {NOW}, 'k', ''": "at least 30 days",
    f"1, 60, {NOW}, 'k', ''": "younger than 60 days",
    f"2, 30, {NOW}, 'k', ''": "younger than 30 days",
    f"3, 30, {NOW}, 'k', ''": "no row 3",
    f"NULL, 30, {NOW}, 'k', ''": "no row",
    "1, 30, 1, 'k', ''": "not signed now",
    "1, 30, NULL, 'k', ''": "not signed now",
}
LATER_GRANTS = [
    "GRANT UPDATE ON audit.audit_logs TO {role}",
    "GRANT UPDATE (hash) ON audit.checkpoints TO PUBLIC",
    "GRANT INSERT ON audit.audit_logs TO {role}",
    "GRANT CREATE ON SCHEMA audit TO {role}",
    "ALTER TABLE audit.checkpoints DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE audit.audit_logs DISABLE TRIGGER guard",
    "DROP FUNCTION audit.guard_checkpoint() CASCADE",
    "ALTER TABLE audit.audit_logs OWNER TO {role}",
    "ALTER DATABASE {database} OWNER TO {role}",
]
FORBIDDEN = [
    "ALTER DATABASE {database} OWNER TO CURRENT_USER",
    "ALTER DATABASE {database} SET search_path = pg_temp",
    FORGED_PURGE,
    f"{FORGED_PURGE}; SELECT audit.purge(1, 30, {NOW}, 'k', '')",
    "UPDATE audit.checkpoints SET purge = true",
    "ALTER TABLE audit.checkpoints DISABLE ROW LEVEL SECURITY",
    "DROP POLICY no_purges ON audit.checkpoints",
    "CREATE POLICY mine ON audit.checkpoints FOR INSERT WITH CHECK (true)",
    "ALTER FUNCTION audit.purge(bigint, integer, bigint, text, bytea) OWNER TO CURRENT_USER",
    "DROP FUNCTION audit.purge(bigint, integer, bigint, text, bytea)",
    "UPDATE audit.audit_logs SET hash = ''",
    "UPDATE audit.checkpoints SET hash = ''",
    "DELETE FROM audit.audit_logs",
    "DELETE FROM audit.checkpoints",
    "TRUNCATE audit.audit_logs",
    "DROP TABLE audit.audit_logs",
    "DROP SCHEMA audit CASCADE",
    "ALTER TABLE audit.audit_logs ADD COLUMN x text",
    "ALTER TABLE audit.audit_logs OWNER TO CURRENT_USER",
    "ALTER SCHEMA audit OWNER TO CURRENT_USER",
    "GRANT UPDATE ON audit.audit_logs TO CURRENT_USER; UPDATE audit.audit_logs SET hash = ''",
    "SET ROLE countline_audit",
    "CREATE FUNCTION audit.purge(bigint, integer) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
    "CREATE RULE r AS ON INSERT TO audit.audit_logs DO INSTEAD NOTHING",
    "CREATE TRIGGER t BEFORE INSERT ON audit.audit_logs EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "INSERT INTO audit.audit_logs (sequence, hashed_text, hash, signature, received_at) VALUES (9, '{}', '', '', NULL)",
    "SET session_replication_role = replica",
    FAR_ROW.format(sequence=4),
    FAR_ROW.format(sequence=9223372036854775807),
    FAR_ROW.format(sequence=0),
    FAR_CHECKPOINT.format(sequence=3),
    FAR_CHECKPOINT.format(sequence=1),
    "ALTER TABLE audit.audit_logs DISABLE TRIGGER guard",
    "DROP TRIGGER guard ON audit.checkpoints",
    "CREATE OR REPLACE FUNCTION audit.guard_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
]


async def test_somebody_without_the_permission_sees_nothing(control: Control) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        await control.caller("operator").audit.ListAuditRows(audit_pb2.ListAuditRowsRequest())
    assert "audit:read" in from_rpc_error(caught.value).message
