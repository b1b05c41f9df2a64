"""What a failing statement was to write appears in no log, no answer, no row of the audit, and no line on the bus."""

from typing import Any

import grpc
import nats
import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.fixtures.control.log import product_log
from tests.fixtures.nats import NatsServer

from countline.v1 import auth_pb2
from countline_common.data.bus import AUDIT, DLQ, LOGS, ensure_streams
from countline_common.data.dead_letters import put_aside

MARKER = "s3cret@example.org"
HASH = "$argon2id$"


@pytest.fixture
def refuse_boom(control_dsn: str) -> None:
    """Add a constraint that no code of ours expects."""
    with psycopg.connect(control_dsn) as connection:
        connection.execute(f"ALTER TABLE auth.users ADD CHECK (username <> 'boom' AND email <> '{MARKER}')".encode())


async def test_a_failing_statement_shows_no_value_that_it_was_to_write(
    control_dsn: str,
    refuse_boom: None,
    nats_server: NatsServer,
    start_control: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COUNTLINE_LOG_FORMAT", "json")
    with product_log():
        control = await start_control(control_dsn, nats_url=nats_server.url)
        auth = control.caller().auth
        with pytest.raises(grpc.aio.AioRpcError) as insert:
            await auth.CreateUser(_new("boom"))
        user = (await auth.CreateUser(_new("bea"))).user
        user.email = MARKER
        request = auth_pb2.UpdateUserRequest(user=user, update_mask=FieldMask(paths=["email"]))
        with pytest.raises(grpc.aio.AioRpcError) as update:
            await auth.UpdateUser(request)
        logged = capsys.readouterr().err
        published = await _logs_with("UPDATE auth.users", nats_server.url)
    for log in (logged, published):
        assert "grpc.fault" in log
        assert "INSERT INTO auth.users" in log
        assert "UPDATE auth.users" in log
    with psycopg.connect(control_dsn) as connection:
        rows = connection.execute("SELECT payload FROM auth.outbox").fetchall()
    answers = [f"{each.value.details()} {each.value.trailing_metadata()}" for each in (insert, update)]
    for shown in (logged, published, *answers, str(rows)):
        assert MARKER not in shown
        assert HASH not in shown


async def test_the_reason_of_a_dead_letter_shows_no_row(nats_server: NatsServer) -> None:
    client = await nats.connect(nats_server.url)
    jetstream = client.jetstream()
    await ensure_streams(jetstream)
    await jetstream.publish("countline.audit.rows.auth", b"", stream=AUDIT)
    subscription = await jetstream.pull_subscribe("", stream=AUDIT, durable="reader")
    (message,) = await subscription.fetch(1, timeout=10)
    reason = f"CheckViolation: a row violates a check\nDETAIL:  Failing row contains ({MARKER})."
    await put_aside(jetstream, message, b"", reason)
    letter = await jetstream.get_msg(DLQ, 1)
    await client.close()
    assert (letter.headers or {})["Countline-Reason"] == "CheckViolation: a row violates a check DETAIL: ***"


def _new(username: str) -> auth_pb2.CreateUserRequest:
    return auth_pb2.CreateUserRequest(username=username, password="three uncommon turnips", roles=["viewer"])


async def _logs_with(word: str, url: str) -> str:
    """Return the lines on the bus as soon as one of them contains a word."""
    client = await nats.connect(url)
    try:
        subscription = await client.jetstream().subscribe("countline.logs.>", stream=LOGS, ordered_consumer=True)
        seen = ""
        while word not in seen:
            seen += (await subscription.next_msg(timeout=30)).data.decode(errors="replace")
        return seen
    finally:
        await client.close()
