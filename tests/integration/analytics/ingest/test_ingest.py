"""Records on their way from the stream into the tables."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

import nats
import nats.js.errors
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.fixtures.analytics.factory import NOON, crossing, record, span, trajectory, visit
from tests.fixtures.analytics.stack import ingesting, publish, until
from tests.fixtures.nats import NatsServer

from countline.v1 import events_pb2
from countline_analytics.ingest.consumer import Ingest
from countline_analytics.ingest.wire import read_record
from countline_analytics.ingest.writer import CountWriter
from countline_common.data import bus

Scalar = Callable[..., object]


async def pending(server: NatsServer) -> int:
    client = await nats.connect(server.url)
    try:
        info = await client.jetstream().consumer_info(bus.COUNTS, "ingest")
    except nats.js.errors.NotFoundError:
        return 1  # it has not begun yet
    finally:
        await client.close()
    return int(info.num_pending or 0) + int(info.num_ack_pending or 0)


async def until_nothing_is_pending(server: NatsServer, timeout_s: float = 30.0) -> None:
    async def nothing() -> bool:
        return await pending(server) == 0

    await until(nothing, timeout_s)


def some_records(count: int = 20, per_record: int = 5):
    return [
        record(*[crossing(i * per_record + k, NOON + i + k / 10) for k in range(per_record)], sequence=i)
        for i in range(count)
    ]


async def test_each_crossing_counts_once_however_often_and_in_whatever_order_its_record_comes(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    records = some_records()
    shuffled = records * 3
    random.Random(5).shuffle(shuffled)
    await publish(nats_server.url, *shuffled)
    async with ingesting(nats_server.url, engine, batch=7):
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 100)
        await until_nothing_is_pending(nats_server)
    assert scalar("SELECT count(*) FROM analytics.crossings") == 100
    assert scalar("SELECT sum(count) FROM analytics.counts_1m") == 100


async def test_sequence_numbers_have_no_gaps(nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar) -> None:
    records = some_records()
    await publish(nats_server.url, *records, *records[5:9], *some_records(count=30)[20:])
    async with ingesting(nats_server.url, engine, batch=7):
        await until(lambda: scalar("SELECT last_sequence FROM analytics.ingest_state") == 150)
    assert scalar("SELECT array_agg(ingest_sequence ORDER BY ingest_sequence) FROM analytics.crossings") == list(
        range(1, 151)
    )


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"\xff\xff no protobuf", "not a CountRecord"),
        (record(crossing(1, NOON), camera="cam-2").SerializeToString(), "came on"),
        (record(crossing(1, NOON, kind="per\0son")).SerializeToString(), "U+0000"),
        (record(crossing(1, NOON), time_zone="Mars/Olympus").SerializeToString(), "Mars/Olympus"),
        (record(crossing(1, NOON), run="").SerializeToString(), "run is empty"),
    ],
)
async def test_a_malformed_record_goes_to_the_dead_letters_with_the_reason_and_holds_up_nobody(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar, broken: bytes, reason: str
) -> None:
    first, second = some_records(2)
    await publish(nats_server.url, first, broken, second)
    async with ingesting(nats_server.url, engine):
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 10)
        await until_nothing_is_pending(nats_server)
    client = await nats.connect(nats_server.url)
    letter = await client.jetstream().get_last_msg(bus.DLQ, "countline.dlq.COUNTS")
    await client.close()
    assert letter.data == broken
    assert reason in letter.headers["Countline-Reason"]
    assert letter.headers["Countline-Stream-Sequence"] == "2"


async def test_what_only_the_database_refuses_is_found_within_its_batch(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar, execute: Callable[..., None]
) -> None:
    """A constraint that the decoder does not know of stands for whatever a later schema may refuse."""
    execute("ALTER TABLE analytics.crossings ADD CHECK (class_name <> 'unicorn')")
    records = some_records(9)
    records.insert(4, record(crossing(999, NOON, kind="unicorn"), sequence=99))
    await publish(nats_server.url, *records)
    async with ingesting(nats_server.url, engine):
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 45)
        await until_nothing_is_pending(nats_server)
    client = await nats.connect(nats_server.url)
    letter = await client.jetstream().get_last_msg(bus.DLQ, "countline.dlq.COUNTS")
    await client.close()
    assert "CheckViolation" in letter.headers["Countline-Reason"]


async def test_events_of_an_older_epoch_after_the_hand_over_are_kept_and_not_counted(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    from countline_common.times import to_timestamp

    stale = record(crossing(1, NOON), crossing(2, NOON + 10), crossing(3, NOON + 20), epoch=1)
    fresh = record(crossing(11, NOON + 12), epoch=2, run="run-2", hand_over_at=to_timestamp(NOON + 9))
    late_stale = record(crossing(4, NOON + 5), crossing(5, NOON + 30), epoch=1, sequence=1)
    async with ingesting(nats_server.url, engine):
        await publish(nats_server.url, stale)
        await until(lambda: scalar("SELECT sum(count) FROM analytics.counts_15m") == 3)
        await publish(nats_server.url, fresh, late_stale)
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 6)
    assert scalar("SELECT sum(count) FROM analytics.counts_15m") == 3
    assert scalar("SELECT array_agg(track ORDER BY track) FROM analytics.crossings WHERE fenced") == [2, 3, 5]


async def test_the_order_in_which_epochs_arrive_does_not_change_what_is_fenced(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    from countline_common.times import to_timestamp

    records = [
        record(*[crossing(100 * e + k, NOON + k, salt=str(e)) for k in range(40)], epoch=e, run=f"run-{e}",
               hand_over_at=to_timestamp(NOON + 10 * e))
        for e in (1, 2, 3)
    ]  # fmt: skip
    random.Random(3).shuffle(records)
    async with ingesting(nats_server.url, engine):
        for each in records:
            await publish(nats_server.url, each)
            await until_nothing_is_pending(nats_server)
    assert scalar("SELECT count(*) FROM analytics.crossings WHERE NOT fenced AND epoch = 1") == 21
    assert scalar("SELECT count(*) FROM analytics.crossings WHERE NOT fenced AND epoch = 2") == 31
    assert scalar("SELECT count(*) FROM analytics.crossings WHERE NOT fenced AND epoch = 3") == 40


async def test_files_played_once_are_outside_of_fencing(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    from countline_common.times import to_timestamp

    live = record(crossing(1, NOON), epoch=4, hand_over_at=to_timestamp(NOON - 100))
    file = record(crossing(2, NOON), epoch=0, run="recording", hand_over_at=to_timestamp(NOON - 50))
    await publish(nats_server.url, live, file)
    async with ingesting(nats_server.url, engine):
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 2)
    assert scalar("SELECT count(*) FROM analytics.crossings WHERE fenced") == 0


async def test_coverage_of_a_run_is_one_span_in_whatever_order_it_comes(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    pieces = [record(coverage=[span(NOON + i, NOON + i + 0.96)], sequence=i) for i in range(30)]
    pieces += [record(coverage=[span(NOON + 60, NOON + 70)], sequence=99)]
    pieces += pieces[3:9]
    random.Random(2).shuffle(pieces)
    await publish(nats_server.url, *pieces)
    async with ingesting(nats_server.url, engine, batch=4):
        await until_nothing_is_pending(nats_server)
    assert scalar("SELECT count(*) FROM analytics.coverage") == 2
    assert scalar("SELECT sum(extract(epoch FROM covered_until - start_t))::float FROM analytics.coverage") == (
        pytest.approx(29.96 + 1 + 10 + 1)
    )


async def test_a_stream_that_fills_up_is_relieved_of_what_is_in_the_database(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    await bus.ensure_streams(js, counts_max_bytes=40_000)
    count = 0
    async with ingesting(nats_server.url, engine) as ingest:
        for i in range(100):  # several times as much as the stream holds
            message = record(*[crossing(i * 10 + k, NOON + i) for k in range(10)], sequence=i)

            async def published(message=message) -> bool:
                try:
                    await js.publish(f"countline.counts.demo.{message.camera_id}", message.SerializeToString())
                except nats.js.errors.APIError:
                    await ingest.make_room()
                    return False
                return True

            await until(published)
            count += 10
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == count)
    await client.close()


async def test_what_is_not_in_the_database_stays_in_a_full_stream(nats_server: NatsServer, engine: AsyncEngine) -> None:
    client = await nats.connect(nats_server.url)
    js = client.jetstream()
    await bus.ensure_streams(js, counts_max_bytes=20_000)
    async with ingesting(nats_server.url, engine):
        await until_nothing_is_pending(nats_server)
    published = 0
    with contextlib.suppress(nats.js.errors.APIError):
        for each in some_records(200):
            await js.publish("countline.counts.demo.cam-1", each.SerializeToString())
            published += 1
    assert published < 200
    await Ingest(client, CountWriter(engine, time.time), 10).make_room()
    assert (await js.stream_info(bus.COUNTS)).state.messages == published
    await client.close()


async def test_crossings_older_than_what_is_kept_are_refused_and_not_half_counted(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    client = await nats.connect(nats_server.url)
    ingest = Ingest(client, CountWriter(engine, time.time), 10, oldest=lambda: NOON)
    stopping = asyncio.Event()
    await publish(nats_server.url, record(crossing(1, NOON - 1)), record(crossing(2, NOON + 1), sequence=1))
    task = asyncio.create_task(ingest.run(stopping))
    await until_nothing_is_pending(nats_server)
    stopping.set()
    await task
    letter = await client.jetstream().get_last_msg(bus.DLQ, "countline.dlq.COUNTS")
    assert "RETENTION" in letter.headers["Countline-Reason"]
    assert scalar("SELECT array_agg(track) FROM analytics.crossings") == [2]
    await client.close()


async def dead_letters(server: NatsServer) -> list[tuple[str, bytes]]:
    """Reason and content of each dead letter."""
    client = await nats.connect(server.url)
    js = client.jetstream()
    try:
        info = await js.stream_info(bus.DLQ)
        letters = [await js.get_msg(bus.DLQ, n) for n in range(info.state.first_seq, info.state.last_seq + 1)]
        return [(letter.headers["Countline-Reason"], letter.data) for letter in letters if letter.headers]
    finally:
        await client.close()


async def test_one_bad_row_goes_to_the_dead_letters_and_the_good_rows_of_its_record_count(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    mixed = record(
        crossing(1, NOON), crossing(2, NOON, kind="per\0son"), crossing(3, NOON + 1), coverage=[span(NOON, NOON + 5)]
    )
    mixed.visits.append(visit(7, NOON + 5, 5))
    mixed.visits[0].left_at.seconds -= 60
    await publish(nats_server.url, mixed)
    async with ingesting(nats_server.url, engine):
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 2)
        await until_nothing_is_pending(nats_server)
    assert scalar("SELECT count(*) FROM analytics.coverage") == 1
    ((reason, content),) = await dead_letters(nats_server)
    assert "U+0000" in reason
    assert "left before it entered" in reason
    refused = events_pb2.CountRecord.FromString(content)
    assert (refused.camera_id, refused.run) == ("cam-1", "run-1")
    assert [each.track for each in refused.crossings] == [2]
    assert [each.track for each in refused.visits] == [7]
    assert not refused.coverage


async def test_a_row_that_is_no_message_goes_to_the_dead_letters_and_the_good_rows_of_its_record_count(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    mixed = record(crossing(1, NOON), crossing(2, NOON, kind="K?fer"), crossing(3, NOON + 1))
    data = mixed.SerializeToString().replace(b"K?fer", b"K\xe4fer")
    await publish(nats_server.url, data)
    async with ingesting(nats_server.url, engine):
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 2)
        await until_nothing_is_pending(nats_server)
    ((reason, content),) = await dead_letters(nats_server)
    assert "crossings: not a row" in reason
    head, (row,) = read_record(content)
    assert (head.camera_id, len(head.crossings), b"K\xe4fer" in row.content) == ("cam-1", 0, True)


async def test_rows_that_only_the_database_refuses_are_found_within_their_record(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar, execute: Callable[..., None]
) -> None:
    execute("ALTER TABLE analytics.crossings ADD CHECK (class_name <> 'unicorn')")
    kinds = ["unicorn" if k in {3, 11} else "person" for k in range(20)]
    await publish(nats_server.url, record(*[crossing(k, NOON + k, kind=kind) for k, kind in enumerate(kinds)]))
    async with ingesting(nats_server.url, engine):
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 18)
        await until_nothing_is_pending(nats_server)
    letters = await dead_letters(nats_server)
    assert all("CheckViolation" in reason for reason, _ in letters)
    tracks = [c.track for _, content in letters for c in events_pb2.CountRecord.FromString(content).crossings]
    assert sorted(tracks) == [3, 11]


@pytest.mark.parametrize("together", [True, False])
async def test_an_event_counts_once_whatever_its_time(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar, together: bool
) -> None:
    first = record(crossing(1, NOON), visits=[visit(1, NOON, 3)], trajectories=[trajectory(1, NOON)])
    again = record(crossing(1, NOON + 1e-6), visits=[visit(1, NOON + 40, 3)], trajectories=[trajectory(1, NOON)])
    again.trajectories[0].start.seconds += 90
    again.crossings.append(crossing(2, NOON + 86_400 * 30))
    async with ingesting(nats_server.url, engine):
        await publish(nats_server.url, first)
        if not together:
            await until_nothing_is_pending(nats_server)
        await publish(nats_server.url, again, again)
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 2)
        await until_nothing_is_pending(nats_server)
    assert scalar("SELECT sum(count) FROM analytics.counts_1m") == 2
    assert scalar("SELECT count(*) FROM analytics.visits") == 1
    assert scalar("SELECT count(*) FROM analytics.trajectories") == 1


async def test_a_crossing_dated_2100_goes_to_the_dead_letters_and_its_neighbours_count(
    nats_server: NatsServer, engine: AsyncEngine, scalar: Scalar
) -> None:
    in_2100 = 4_102_444_800
    mixed = record(crossing(1, NOON), crossing(2, in_2100), coverage=[span(in_2100, in_2100 + 5)])
    await publish(nats_server.url, mixed)
    async with ingesting(nats_server.url, engine):
        await until(lambda: scalar("SELECT count(*) FROM analytics.crossings") == 1)
        await until_nothing_is_pending(nats_server)
    assert scalar("SELECT count(*) FROM analytics.coverage") == 0
    ((reason, content),) = await dead_letters(nats_server)
    assert "2100-01-01T00:00:00+00:00 lies after the time at which the server received the record" in reason
    assert [each.track for each in events_pb2.CountRecord.FromString(content).crossings] == [2]
