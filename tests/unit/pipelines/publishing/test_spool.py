"""The spool: what was appended is there after any crash, in order, until it is acknowledged."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from countline_common.errors import AlreadyExistsError
from countline_pipelines.publishing import spool as spool_module
from countline_pipelines.publishing.spool import Spool, SpoolBrokenError, SpoolFullError

records_of_any_kind = st.lists(
    st.tuples(st.text("abc.", min_size=1, max_size=20), st.binary(max_size=200)), min_size=1, max_size=8
)


def everything(spool: Spool) -> list[tuple[int, str, bytes]]:
    found, number = [], spool.first_waiting
    while batch := spool.read(number, 3):
        found += [(record.number, record.subject, record.payload) for record in batch]
        number = batch[-1].number + 1
    return found


def test_what_is_appended_is_read_back_byte_for_byte_and_in_order(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        first = spool.append([("a.b", b"one"), ("a.c", b"")])
        spool.append([("a.b", bytes(range(256)))])
        assert everything(spool) == [(first, "a.b", b"one"), (1, "a.c", b""), (2, "a.b", bytes(range(256)))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(records_of_any_kind, min_size=1, max_size=5), st.data())
def test_a_torn_tail_costs_only_what_was_not_yet_appended(tmp_path: Path, batches, data) -> None:
    """A crash leaves any prefix of the last batch on disk, perhaps with rubbish after it; what came before stays."""
    folder = tmp_path / "s"
    shutil.rmtree(folder, ignore_errors=True)
    with Spool(folder) as spool:
        for batch in batches[:-1]:
            spool.append(batch)
        segments = sorted(folder.glob("*.seg"))
        size_before = segments[-1].stat().st_size if segments else 0
        spool.append(batches[-1])
    last = max(folder.glob("*.seg"))
    whole = last.read_bytes()
    kept = data.draw(st.integers(size_before, len(whole)))
    last.write_bytes(whole[:kept] + data.draw(st.binary(max_size=30)))
    before = [record for batch in batches[:-1] for record in batch]
    with Spool(folder) as spool:
        found = [(subject, payload) for _, subject, payload in everything(spool)]
        assert found[: len(before)] == before
        assert found[len(before) :] == batches[-1][: len(found) - len(before)]
        number = spool.append([("later", b"later")])
        assert everything(spool)[-1] == (number, "later", b"later")
        assert number == len(found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(records_of_any_kind, st.data())
def test_a_flipped_bit_is_never_taken_for_a_record(tmp_path: Path, batch, data) -> None:
    folder = tmp_path / "s"
    shutil.rmtree(folder, ignore_errors=True)
    with Spool(folder) as spool:
        spool.append(batch)
    path = next(folder.glob("*.seg"))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(len(spool_module.MAGIC), len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with Spool(folder) as spool:
        found = [(subject, payload) for _, subject, payload in everything(spool)]
    assert found == batch[: len(found)]
    assert len(found) < len(batch)


class SpoolMachine(RuleBasedStateMachine):
    """Appends, acknowledgements in any order and crashes, against a plain list."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(os.environ["SPOOL_TEST_FOLDER"]) / f"machine-{id(self)}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.records: list[tuple[str, bytes]] = []
        self.acked: set[int] = set()
        self.spool = Spool(self.folder, segment_bytes=300)

    @rule(batch=records_of_any_kind)
    def append(self, batch) -> None:
        assert self.spool.append(batch) == len(self.records)
        self.records += batch

    @precondition(lambda self: len(self.records) > len(self.acked))
    @rule(data=st.data())
    def acknowledge(self, data) -> None:
        number = data.draw(st.sampled_from(sorted(set(range(len(self.records))) - self.acked)))
        self.spool.ack(number)
        self.acked.add(number)

    @rule()
    def crash_and_start_again(self) -> None:
        os.close(self.spool._lock)
        self.spool._seal()
        self.spool = Spool(self.folder, segment_bytes=300)

    @rule()
    def stop_and_start_again(self) -> None:
        self.spool.close()
        self.spool = Spool(self.folder, segment_bytes=300)

    @invariant()
    def nothing_that_waits_is_lost(self) -> None:
        if not hasattr(self, "spool"):
            return
        found = {number: (subject, payload) for number, subject, payload in everything(self.spool)}
        for number in set(range(len(self.records))) - self.acked:
            assert found[number] == self.records[number]
        for number, record in found.items():
            assert record == self.records[number]
        assert self.spool.waiting_bytes <= self.spool.used_bytes

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            shutil.rmtree(self.folder, ignore_errors=True)


def test_no_order_of_appends_acknowledgements_and_crashes_loses_a_record(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SPOOL_TEST_FOLDER", str(tmp_path))
    test_case = SpoolMachine.TestCase
    test_case.settings = settings(max_examples=10, stateful_step_count=15)
    test_case().runTest()


def test_acknowledged_segments_leave_the_disk(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", segment_bytes=1000) as spool:
        for number in range(200):
            spool.append([("a", b"x" * 100)])
            spool.ack(number)
        assert spool.waiting == 0
        assert spool.used_bytes < 2000
        assert len(list((tmp_path / "s").glob("*.seg"))) <= 2


def test_a_full_spool_refuses_the_whole_batch_and_takes_it_when_there_is_room(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", max_bytes=4000) as spool:
        batch = [("a", b"x" * 100), ("b", b"y" * 100)]
        appended = 0
        while spool.used_bytes + 250 <= 4000:
            spool.append(batch)
            appended += 2
        with pytest.raises(SpoolFullError) as raised:
            spool.append(batch)
        assert raised.value.hint
        assert spool.waiting == appended
        assert spool.used_bytes <= 4000
        for number in range(appended):
            spool.ack(number)
        spool.append([("a", b"x" * 100)])


@pytest.mark.parametrize(("number", "kind"), [(28, SpoolFullError), (122, SpoolFullError), (5, SpoolBrokenError)])
def test_a_disk_that_refuses_to_write_loses_nothing_that_was_there(tmp_path, monkeypatch, number, kind) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append([("a", b"before")])
        written = os.pwrite

        def half(descriptor: int, data: bytes, offset: int) -> int:
            written(descriptor, data[: len(data) // 2], offset)
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "pwrite", half)
        with pytest.raises(kind) as raised:
            spool.append([("a", b"refused")])
        assert str(tmp_path) in raised.value.message
        monkeypatch.undo()
        spool.append([("a", b"after")])
        assert [payload for _, _, payload in everything(spool)] == [b"before", b"after"]


def test_two_workers_cannot_share_a_spool(tmp_path: Path) -> None:
    with Spool(tmp_path / "s"), pytest.raises(AlreadyExistsError):
        Spool(tmp_path / "s")


def test_losing_the_note_of_what_was_acknowledged_only_sends_again(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append([("a", b"1"), ("a", b"2")])
        spool.ack(0)
    (tmp_path / "s" / "acked").unlink()
    with Spool(tmp_path / "s") as spool:
        assert [payload for _, _, payload in everything(spool)] == [b"1", b"2"]
