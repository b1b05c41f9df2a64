"""How fast counts get into the database, against a bare COPY of the same rows into the same table.

    python tests/benchmarks/analytics/bench_ingest.py [--rows N] [--rounds N] [--dsn DSN]

The limit is what PostgreSQL takes when nothing is checked: one COPY of ready rows, by the driver's own `write_row`,
into the table with its indexes, and one of their ids. Against it stand, round by round in turns so that a busy machine
hits all alike:

- `writer`: from the bytes of records to the commit, as ingest does it, 2,000 crossings a transaction;
- `small batches`: the same, 250 crossings a transaction, as under an ordinary load;
- `duplicates`: records that are all there already, as when a spool is sent again;
- `end to end`: from records waiting in JetStream until they are all acknowledged, in transactions of the shipped size.

With `--dsn` of a server that has TimescaleDB the tables are hypertables. Exit code 1 where `writer` or `end to end`
stays below 0.3.
"""

import argparse
import asyncio
import hashlib
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import nats
import psycopg
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from countline.v1 import events_pb2

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.append(str(REPOSITORY))

from tests.fixtures.nats import NatsServer  # noqa: E402
from tests.fixtures.postgres import PostgresServer  # noqa: E402

from countline_analytics.ingest.consumer import DURABLE, Ingest  # noqa: E402
from countline_analytics.ingest.records import decode  # noqa: E402
from countline_analytics.ingest.writer import COPY_CROSSINGS, CountWriter  # noqa: E402
from countline_analytics.settings import IngestSettings  # noqa: E402
from countline_common.data import bus  # noqa: E402
from countline_common.data.database import create_engine, migrate  # noqa: E402
from countline_common.times import to_timestamp  # noqa: E402

GOAL = 0.3
PER_RECORD = 20
BATCH_MESSAGES: int = IngestSettings.model_fields["ingest_batch_messages"].default
START = 1_780_000_000.0
SUBJECT = "countline.counts.demo.cam-{}"
CAMERAS = 8
COLUMNS = COPY_CROSSINGS[COPY_CROSSINGS.index("(") + 1 : COPY_CROSSINGS.index(")")]


def records(rows: int) -> list[tuple[bytes, str]]:
    """Messages with their subjects, of eight cameras in turns."""
    return [_record(i) for i in range(rows // PER_RECORD)]


def _record(i: int) -> tuple[bytes, str]:
    camera, start = f"cam-{i % CAMERAS}", START + i // CAMERAS
    events = [
        events_pb2.Crossing(
            crossing_id=hashlib.md5(f"{i}/{k}".encode()).hexdigest(),
            line_id=("gate", "door")[k % 2],
            line_version=1,
            track=i * PER_RECORD + k,
            direction=events_pb2.DIRECTION_IN if k % 3 else events_pb2.DIRECTION_OUT,
            class_name=("person", "vehicle")[k % 2],
            score=0.9,
            t=to_timestamp(start + k / 25),
            decided_at=to_timestamp(start + k / 25 + 0.4),
            frame=i * 25 + k,
        )
        for k in range(PER_RECORD)
    ]
    span = events_pb2.CoverageSpan(start=to_timestamp(start), end=to_timestamp(start + 0.96), frames=25)
    record = events_pb2.CountRecord(
        site_id="demo", camera_id=camera, worker_id="worker-1", epoch=1, run="run-1", sequence=i // CAMERAS,
        crossings=events, coverage=[span], time_zone="Europe/Berlin",
    )  # fmt: skip
    return record.SerializeToString(), SUBJECT.format(i % CAMERAS)


def empty(dsn: str) -> None:
    """Start from nothing."""
    tables = "crossings, analytics.event_ids, analytics.changed_buckets, analytics.coverage, analytics.epochs"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"TRUNCATE analytics.{tables}".encode())
        connection.execute(b"UPDATE analytics.ingest_state SET last_sequence = 0")


async def write(engine: AsyncEngine, messages: Sequence[tuple[bytes, str]], rows_at_once: int) -> float:
    """Seconds from bytes to commits."""
    writer = CountWriter(engine, time.time)
    at_once = rows_at_once // PER_RECORD
    start = time.perf_counter()
    for i in range(0, len(messages), at_once):
        await writer.write([decode(data, subject) for data, subject in messages[i : i + at_once]])
    return time.perf_counter() - start


def bare_copy(dsn: str, rows: list[tuple[object, ...]]) -> float:
    """Seconds of one COPY of ready rows, and one of their ids."""
    statement = f"COPY analytics.crossings ({COLUMNS}) FROM STDIN".encode()
    with psycopg.connect(dsn) as connection:
        start = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
        with (
            connection.cursor() as cursor,
            cursor.copy(b"COPY analytics.event_ids (event_id, kind, t) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row((row[0], "c", row[1]))
        connection.commit()
        return time.perf_counter() - start


def stored(dsn: str) -> list[tuple[object, ...]]:
    """The rows as the writer has written them."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            f"SELECT {COLUMNS} FROM analytics.crossings ORDER BY ingest_sequence".encode()
        ).fetchall()


async def end_to_end(server: NatsServer, engine: AsyncEngine, messages: Sequence[tuple[bytes, str]]) -> float:
    """Seconds from a full stream to the last acknowledgement."""
    client = await bus.connect(server.url, "bench")
    js = client.jetstream()
    await bus.ensure_streams(js)
    await js.purge_stream(bus.COUNTS)
    for i in range(0, len(messages), 200):
        await asyncio.gather(*(js.publish(subject, data) for data, subject in messages[i : i + 200]))
    stopping = asyncio.Event()
    start = time.perf_counter()
    task = asyncio.create_task(Ingest(client, CountWriter(engine, time.time), BATCH_MESSAGES).run(stopping))
    while True:
        await asyncio.sleep(0.02)
        try:
            info = await js.consumer_info(bus.COUNTS, DURABLE)
        except nats.js.errors.NotFoundError:
            continue
        if not info.num_pending and not info.num_ack_pending:
            break
    seconds = time.perf_counter() - start
    stopping.set()
    await task
    await client.close()
    return seconds


async def rounds(dsn: str, server: NatsServer, rows: int, count: int) -> dict[str, list[float]]:
    """Rows a second of each variant, round by round."""
    messages, engine = records(rows), create_engine(dsn)
    speeds: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        speeds.setdefault(name, []).append(rows / seconds)

    for _ in range(count):
        empty(dsn)
        note("writer", await write(engine, messages, 2000))
        note("duplicates", await write(engine, messages, 2000))
        ready = stored(dsn)
        empty(dsn)
        note("bare COPY", bare_copy(dsn, ready))
        empty(dsn)
        note("small batches", await write(engine, messages, 250))
        empty(dsn)
        note("end to end", await end_to_end(server, engine, messages))
    await engine.dispose()
    return speeds


def report(speeds: dict[str, list[float]]) -> int:
    """Print the table; the exit code."""
    ratios: dict[str, float] = {}
    print(f"{'':16}{'rows/s':>10}{'spread':>18}{'of bare COPY':>14}")
    for name in ("bare COPY", "writer", "small batches", "duplicates", "end to end"):
        ratios[name] = statistics.median(
            own / bare for own, bare in zip(speeds[name], speeds["bare COPY"], strict=True)
        )
        spread = f"{min(speeds[name]):,.0f}..{max(speeds[name]):,.0f}"
        print(f"{name:16}{statistics.median(speeds[name]):>10,.0f}{spread:>18}{ratios[name]:>14.2f}")
    reached = min(ratios["writer"], ratios["end to end"]) >= GOAL
    print(f"goal: writer and end to end at least {GOAL} of bare COPY: {'reached' if reached else 'NOT REACHED'}")
    return 0 if reached else 1


async def run(options: argparse.Namespace) -> int:
    """Everything on servers of its own, or on the given one."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    postgres = None if options.dsn else PostgresServer()
    name = f"bench_{uuid.uuid4().hex[:12]}"
    dsn = options.dsn or (postgres.create_database() if postgres else "")
    if options.dsn:
        with psycopg.connect(options.dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        dsn = f"{options.dsn.rpartition('/')[0]}/{name}"
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder))
        await server.start()
        try:
            await migrate(dsn, "countline_analytics.store", "analytics")
            return report(await rounds(dsn, server, options.rows, options.rounds))
        finally:
            await server.stop()
            if postgres is not None:
                postgres.remove()
            else:
                with psycopg.connect(options.dsn, autocommit=True) as connection:
                    connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dsn", help="a server to use instead of one of its own; a database is made there and dropped")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
