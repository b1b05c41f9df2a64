"""The thread that commits records: in groups, in order, and never dropping one."""

import threading
from pathlib import Path

import pytest

from countline_common.errors import CountlineError
from countline_pipelines.publishing.spool import Spool, SpoolFullError
from countline_pipelines.publishing.writer import SpoolWriter

BOUND = 40 * 4096
NEARLY_FULL = [("a", b"x" * 1300)] * 105
"""Three of these fit on a page of 4096 bytes: with two more pages, 37 of the bound's 40."""


class Pressure:
    """Records what the writer reports to the worker."""

    def __init__(self) -> None:
        self.reported: list[CountlineError | None] = []
        self._changed = threading.Condition()

    def __call__(self, error: CountlineError | None) -> None:
        with self._changed:
            self.reported.append(error)
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.reported) >= count, 10)


def payloads(spool: Spool) -> list[bytes]:
    return [record.payload for record in spool.read(0, 10_000)]


def test_records_are_committed_in_order_and_many_at_a_time(tmp_path: Path) -> None:
    commits: list[None] = []
    with Spool(tmp_path / "s") as spool:
        writer = SpoolWriter(spool, lambda: commits.append(None), Pressure())
        writer.start()
        for index in range(500):
            writer.submit("a", str(index).encode())
        assert writer.flushed()
        assert payloads(spool) == [str(index).encode() for index in range(500)]
        assert len(commits) < 500
        assert writer.close(5) == 0


def test_a_full_disk_holds_records_back_asks_for_a_pause_and_takes_them_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressure = Pressure()
    with Spool(tmp_path / "s") as spool:
        append, full = spool.append, threading.Event()
        full.set()

        def refuse(records: list[tuple[str, bytes]]) -> int:
            if full.is_set():
                raise SpoolFullError("the disk is full", hint="free some space")
            return append(records)

        monkeypatch.setattr(spool, "append", refuse)
        writer = SpoolWriter(spool, lambda: None, pressure)
        writer.start()
        for index in range(10):
            writer.submit("a", str(index).encode())
        pressure.wait_for(1)
        assert isinstance(pressure.reported[0], SpoolFullError)
        assert writer.under_pressure
        full.clear()
        pressure.wait_for(2)
        assert pressure.reported[1] is None
        assert writer.flushed()
        assert payloads(spool) == [str(index).encode() for index in range(10)]
        writer.close(5)


def test_a_spool_that_fills_asks_for_a_pause_before_it_is_full_and_ends_it_when_emptied(tmp_path: Path) -> None:
    pressure = Pressure()
    with Spool(tmp_path / "s", max_bytes=BOUND) as spool:
        writer = SpoolWriter(spool, lambda: None, pressure)
        writer.start()
        for record in NEARLY_FULL:
            writer.submit(*record)
        pressure.wait_for(1)
        assert writer.flushed()
        assert spool.used_bytes < BOUND, "there is room left for what is still on its way"
        for number in range(spool.waiting):
            spool.ack(number)
        spool.delete_acked()
        pressure.wait_for(2)
        assert pressure.reported[1] is None
        writer.close(5)


def test_what_could_not_be_committed_in_time_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Spool(tmp_path / "s") as spool:

        def refuse(_: object) -> int:
            raise SpoolFullError("the disk is full")

        monkeypatch.setattr(spool, "append", refuse)
        writer = SpoolWriter(spool, lambda: None, Pressure())
        writer.start()
        writer.submit("a", b"lost")
        assert writer.close(0.2) == 1
        monkeypatch.undo()  # the thread goes on trying, and ends once it has succeeded
        assert writer.flushed()


def test_an_unheard_warning_of_pressure_is_repeated_and_the_records_are_written(tmp_path: Path) -> None:
    pressure, refusals = Pressure(), [RuntimeError("not made yet")]

    def warned(error: CountlineError | None) -> None:
        if refusals:
            raise refusals.pop()
        pressure(error)

    with Spool(tmp_path / "s", max_bytes=BOUND) as spool:
        writer = SpoolWriter(spool, lambda: None, warned)
        for record in NEARLY_FULL:
            writer.submit(*record)  # before the thread is there
        writer.start()
        pressure.wait_for(1)
        assert writer.under_pressure
        assert writer.flushed()
        assert writer.close(5) == 0
        assert spool.waiting == len(NEARLY_FULL)
