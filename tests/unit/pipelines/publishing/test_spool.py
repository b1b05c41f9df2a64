"""The spool: what was appended is there after any crash, in order, until it is acknowledged."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from countline_common.errors import AlreadyExistsError
from countline_pipelines.publishing import spool as spool_module
from countline_pipelines.publishing.spool import Spool, SpoolBrokenError, SpoolFullError

PAGE_BYTES = 4096
records_of_any_kind = st.lists(
    st.tuples(st.text("abc.", min_size=1, max_size=20), st.binary(max_size=200)), min_size=1, max_size=8
)


def everything(spool: Spool) -> list[tuple[int, str, bytes]]:
    found, number = [], 0
    while batch := spool.read(number, 3):
        found += [(record.number, record.subject, record.payload) for record in batch]
        number = batch[-1].number + 1
    return found


def said(spool: Spool) -> list[tuple[str, bytes]]:
    return [(subject, payload) for _, subject, payload in everything(spool)]


def crashed(spool: Spool, copy: Path) -> Path:
    """The files of a spool as a killed process leaves them."""
    shutil.copytree(spool._folder, copy)
    return copy


def log_of(folder: Path) -> Path:
    return folder / "records" / "spool.db-wal"


def database_of(folder: Path) -> Path:
    return folder / "records" / "spool.db"


def test_what_is_appended_is_read_back_byte_for_byte_and_in_order(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        first = spool.append([("a.b", b"one"), ("a.c", b"")])
        spool.append([("a.b", bytes(range(256)))])
        assert everything(spool) == [(first, "a.b", b"one"), (1, "a.c", b""), (2, "a.b", bytes(range(256)))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(records_of_any_kind, min_size=1, max_size=5), st.data())
def test_a_torn_tail_costs_only_what_was_not_yet_appended(tmp_path: Path, batches, data) -> None:
    """A crash leaves any prefix of the last batch on disk, perhaps with rubbish after it; what came before stays."""
    shutil.rmtree(tmp_path, ignore_errors=True)
    with Spool(tmp_path / "s") as spool:
        for batch in batches[:-1]:
            spool.append(batch)
        log = log_of(tmp_path / "s")
        size_before = log.stat().st_size
        spool.append(batches[-1])
        folder = crashed(spool, tmp_path / "crashed")
    whole = log_of(folder).read_bytes()
    kept = data.draw(st.integers(size_before, len(whole)))
    log_of(folder).write_bytes(whole[:kept] + data.draw(st.binary(max_size=30)))
    before = [record for batch in batches[:-1] for record in batch]
    with Spool(folder) as spool:
        found = said(spool)
        assert found in (before, before + batches[-1])
        number = spool.append([("later", b"later")])
        assert everything(spool)[-1] == (number, "later", b"later")
        assert number == len(found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(records_of_any_kind, records_of_any_kind, st.data())
def test_a_torn_page_of_the_database_is_repaired_from_the_log(tmp_path: Path, before, batch, data) -> None:
    """SQLite copies pages from its log to the database now and then; a crash in between leaves pages half written."""
    shutil.rmtree(tmp_path, ignore_errors=True)
    with Spool(tmp_path / "s") as spool:
        spool.append(before)
    with Spool(tmp_path / "s") as spool:
        spool.append(batch)
        folder = crashed(spool, tmp_path / "crashed")
        spool._database.execute("PRAGMA wal_checkpoint(FULL)")
        new = database_of(tmp_path / "s").read_bytes()
    old = database_of(folder).read_bytes()
    half = data.draw(st.integers(0, len(new) // 512)) * 512
    database_of(folder).write_bytes(new[:half] + old[half:])
    with Spool(folder) as spool:
        assert said(spool) == before + batch


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(records_of_any_kind, st.booleans(), st.data())
def test_a_flipped_bit_is_never_taken_for_a_record(tmp_path: Path, batch, in_log, data) -> None:
    shutil.rmtree(tmp_path, ignore_errors=True)
    with Spool(tmp_path / "s") as spool:
        spool.append(batch)
        folder = crashed(spool, tmp_path / "crashed") if in_log else tmp_path / "s"
    path = log_of(folder) if in_log else database_of(folder)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with Spool(folder) as spool:
        found = said(spool)
        assert all(record in batch for record in found)
        spool.append([("later", b"later")])
        assert said(spool) == [*found, ("later", b"later")]


def test_the_readable_records_of_a_damaged_database_are_kept_and_so_is_the_database(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    records = [("a", bytes([index]) * 1000) for index in range(100)]
    with Spool(folder) as spool:
        spool.append(records)
    content = bytearray(database_of(folder).read_bytes())
    middle = content.index(bytes([50]) * 1000) // PAGE_BYTES * PAGE_BYTES
    content[middle : middle + PAGE_BYTES] = bytes(PAGE_BYTES)
    database_of(folder).write_bytes(content)
    with Spool(folder) as spool:
        found = said(spool)
        assert len(found) >= 90
        assert found == [record for record in records if record in found]
        assert spool.waiting == len(found)
    assert (folder / "salvaged-1" / "spool.db").read_bytes() == bytes(content)
    with Spool(folder) as spool:
        assert said(spool) == found


def test_the_records_of_a_database_that_was_cut_off_are_kept_up_to_there(tmp_path: Path) -> None:
    records = [("a", bytes([index]) * 1000) for index in range(100)]
    with Spool(tmp_path) as spool:
        spool.append(records)
    os.truncate(database_of(tmp_path), database_of(tmp_path).stat().st_size // 2)
    with Spool(tmp_path) as spool:
        found = said(spool)
        assert len(found) > 40
        assert all(record in records for record in found)


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    database_of(tmp_path).parent.mkdir()
    database_of(tmp_path).write_bytes(b"rubbish" * 1000)
    with Spool(tmp_path) as spool:
        assert everything(spool) == []
        spool.append([("a", b"1")])
    with Spool(tmp_path) as spool:
        assert said(spool) == [("a", b"1")]


def test_records_are_salvaged_after_a_crash_in_the_middle_of_it(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append([("a", b"1"), ("a", b"2")])
    (tmp_path / "records").rename(tmp_path / "damaged-1")
    with Spool(tmp_path) as spool:
        assert said(spool) == [("a", b"1"), ("a", b"2")]
    assert not (tmp_path / "damaged-1").exists()


class SpoolMachine(RuleBasedStateMachine):
    """Appends, acknowledgements in any order and crashes, against a plain list."""

    @initialize()
    def begin(self) -> None:
        self.base = Path(os.environ["SPOOL_TEST_FOLDER"]) / f"machine-{id(self)}"
        shutil.rmtree(self.base, ignore_errors=True)
        self.starts = 0
        self.records: list[tuple[str, bytes]] = []
        """Each with a subject of its own: numbers are unique within one start only."""
        self.acked: set[str] = set()
        self.spool = Spool(self.base / "0")

    @rule(batch=records_of_any_kind)
    def append(self, batch) -> None:
        batch = [(f"{subject}{len(self.records) + index}", payload) for index, (subject, payload) in enumerate(batch)]
        first = self.spool.append(batch)
        assert [(number, record) for number, *record in everything(self.spool)][-len(batch) :] == [
            (first + index, [*record]) for index, record in enumerate(batch)
        ]
        self.records += batch

    @precondition(lambda self: len(self.records) > len(self.acked))
    @rule(data=st.data())
    def acknowledge(self, data) -> None:
        waiting = [(number, subject) for number, subject, _ in everything(self.spool) if subject not in self.acked]
        number, subject = data.draw(st.sampled_from(waiting))
        self.spool.ack(number)
        self.acked.add(subject)

    @rule()
    def delete(self) -> None:
        self.spool.delete_acked()
        assert {subject for subject, _ in said(self.spool)}.isdisjoint(self.acked)

    @rule()
    def crash_and_start_again(self) -> None:
        self.starts += 1
        folder = crashed(self.spool, self.base / str(self.starts))
        self.spool.close()
        self.spool = Spool(folder)
        for number, subject, _ in everything(self.spool):  # what was acknowledged may be sent again
            if subject in self.acked:
                self.spool.ack(number)

    @rule()
    def stop_and_start_again(self) -> None:
        self.spool.close()
        self.spool = Spool(self.spool._folder)

    @invariant()
    def nothing_that_waits_is_lost(self) -> None:
        if not hasattr(self, "spool"):
            return
        found = said(self.spool)
        waiting = [record for record in self.records if record[0] not in self.acked]
        assert [record for record in found if record[0] not in self.acked] == waiting
        assert found == [record for record in self.records if record in found]
        assert self.spool.waiting == len(waiting)
        assert self.spool.waiting_bytes <= self.spool.used_bytes

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            shutil.rmtree(self.base, ignore_errors=True)


def test_no_order_of_appends_acknowledgements_and_crashes_loses_a_record(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SPOOL_TEST_FOLDER", str(tmp_path))
    test_case = SpoolMachine.TestCase
    test_case.settings = settings(max_examples=10, stateful_step_count=15)
    test_case().runTest()


def test_acknowledged_records_leave_the_disk(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        for _ in range(200):
            spool.ack(spool.append([("a", b"x" * 1000)]))
        assert spool.waiting == 0
        assert spool.waiting_bytes == 0
        assert spool.used_bytes <= 4 * PAGE_BYTES


def test_an_empty_spool_gives_back_the_disk_that_an_outage_took(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        numbers = [spool.append([("a", b"x" * 100_000)]) for _ in range(60)]
        for number in numbers:
            spool.ack(number)
        assert spool.used_bytes > spool_module.SHRINK_ABOVE_BYTES
        spool.delete_acked()
        assert sum(path.stat().st_size for path in (tmp_path / "s").rglob("*")) < 20 * PAGE_BYTES
        assert spool.append([("a", b"after")]) > numbers[-1]
        assert said(spool) == [("a", b"after")]


def refused(spool: Spool, batch: list[tuple[str, bytes]]) -> SpoolFullError | None:
    try:
        spool.append(batch)
    except SpoolFullError as error:
        return error
    return None


def test_a_full_spool_refuses_the_whole_batch_and_takes_it_when_there_is_room(tmp_path: Path) -> None:
    bound = 20 * PAGE_BYTES
    with Spool(tmp_path / "s", max_bytes=bound) as spool:
        batch = [("a", b"x" * 900), ("b", b"y" * 900)]
        while spool.used_bytes < bound:
            spool.append(batch)
        while not (raised := refused(spool, batch)):
            continue
        appended = spool.waiting
        assert raised.hint
        assert appended >= 60
        assert len(everything(spool)) == appended
        assert spool.used_bytes <= bound
        assert database_of(tmp_path / "s").stat().st_size <= bound
        for number in range(appended):
            spool.ack(number)
        spool.append([("a", b"x" * 100)])
        assert said(spool) == [("a", b"x" * 100)]


APPEND_UNTIL_REFUSED = """
import resource, sys
from pathlib import Path
from countline_pipelines.publishing.spool import Spool, SpoolBrokenError
with Spool(Path(sys.argv[1])) as spool:
    spool.append([("a", b"before")])
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    batches = 0
    try:
        while True:
            spool.append([("a", b"x" * 1000)] * 10)
            batches += 1
    except SpoolBrokenError as error:
        assert sys.argv[1] in error.message
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    spool.append([("a", b"after")])
    payloads = [record.payload for record in spool.read(0, 10_000)]
    assert payloads == [b"before", *[b"x" * 1000] * 10 * batches, b"after"], len(payloads)
"""


def test_a_disk_that_refuses_to_write_loses_nothing_that_was_there(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", APPEND_UNTIL_REFUSED, str(tmp_path / "s")], check=True, timeout=60)
    with Spool(tmp_path / "s") as spool:
        assert said(spool)[-1] == ("a", b"after")


def test_a_full_disk_gives_room_again_once_everything_is_acknowledged(tmp_path: Path, monkeypatch) -> None:
    """SQLite needs room to delete too; when it has none, an empty spool starts a new database."""
    with Spool(tmp_path / "s") as spool:
        numbers = [spool.append([("a", b"x")]) for _ in range(10)]

        def full(*_: object) -> None:
            raise SpoolFullError("the disk is full")

        monkeypatch.setattr(spool, "_commit", full)
        for number in numbers[:5]:
            spool.ack(number)
        spool.delete_acked()
        assert len(everything(spool)) == 10
        for number in numbers[5:]:
            spool.ack(number)
        spool.delete_acked()
        assert everything(spool) == []
        monkeypatch.undo()
        spool.append([("a", b"after")])
        assert said(spool) == [("a", b"after")]


def test_a_repeated_acknowledgement_deletes_no_other_record(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        numbers = [spool.append([("a", b"x" * 100_000)]) for _ in range(60)]
        for number in numbers:
            spool.ack(number)
        spool.append([("a", b"waits")])
        for number in numbers:
            spool.ack(number)
        spool.delete_acked()
        assert said(spool) == [("a", b"waits")]
        assert spool.waiting == 1


def test_records_up_to_a_number_are_acknowledged_whatever_follows(tmp_path: Path) -> None:
    """Others go on to write while the last records of a file are awaited."""
    with Spool(tmp_path) as spool:
        assert spool.is_acknowledged(spool.next_number)
        spool.append([("one", b"1"), ("two", b"2")])
        end = spool.next_number
        spool.append([("other", b"3")])
        spool.ack(0)
        assert not spool.is_acknowledged(end)
        spool.ack(1)
        assert spool.is_acknowledged(end)
        assert not spool.is_acknowledged(spool.next_number)
        spool.delete_acked()
        assert spool.is_acknowledged(end)


def test_two_workers_cannot_share_a_spool(tmp_path: Path) -> None:
    with Spool(tmp_path / "s"), pytest.raises(AlreadyExistsError):
        Spool(tmp_path / "s")


HOLD = """
import sys, time
from pathlib import Path
from countline_pipelines.publishing.spool import Spool
spool = Spool(Path(sys.argv[1]))
number = 0
while True:
    spool.append([("a", str(number + index).encode()) for index in range(3)])
    number += 3
    print(number, flush=True)
"""


def test_a_killed_worker_loses_nothing_that_was_appended_and_its_spool_is_free(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "s")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        appended = [int(process.stdout.readline()) for _ in range(50)][-1]
        with pytest.raises(AlreadyExistsError):
            Spool(tmp_path / "s")
        process.send_signal(signal.SIGKILL)
        appended = max([appended, *map(int, process.stdout.read().splitlines())])
    with Spool(tmp_path / "s") as spool:
        found = [int(payload) for _, _, payload in everything(spool)]
    assert found == [*range(len(found))]
    assert len(found) >= appended


def test_losing_what_was_acknowledged_only_sends_again(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append([("a", b"1"), ("a", b"2")])
        spool.ack(0)
        folder = crashed(spool, tmp_path / "crashed")
    with Spool(folder) as spool:
        assert said(spool) == [("a", b"1"), ("a", b"2")]


def test_a_disk_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch) -> None:
    with Spool(tmp_path / "s") as spool:

        def fails() -> sqlite3.Connection:
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(spool, "_opened", fails)
        with pytest.raises(SpoolBrokenError, match="disk I/O error"):
            spool.read(0, 1)
        monkeypatch.undo()
