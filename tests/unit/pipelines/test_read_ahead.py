"""Packets that a thread reads ahead: their order, their arrivals, and how the thread ends."""

import itertools
import math
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import pytest

from countline_pipelines.sources import Playback, SourceError, SourceSpec
from countline_pipelines.sources.pacing import BurstMeter
from countline_pipelines.sources.reading.ahead import MOST_BYTES, ReadAhead

SPEC = SourceSpec("http://192.0.2.1/live.m3u8", Playback.LIVE, read_timeout_s=0.3)


@dataclass
class Packet:
    dts: int
    size: int = 1
    time_base: Fraction = Fraction(1)


class Source:
    """Packets, how many of them were read, and whether it was closed."""

    def __init__(self, packets: Iterable[Packet]) -> None:
        self.closed, self.read = threading.Event(), 0
        self.ahead = ReadAhead(SPEC, self._counted(packets), BurstMeter(1.0, math.inf), self.closed.set)

    def _counted(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        for packet in packets:
            self.read += 1
            yield packet


def wait_for(source: Source, packets: int) -> None:
    until = time.monotonic() + 10
    while source.read < packets:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_packets_come_in_order_with_their_own_arrivals_however_late_they_are_taken() -> None:
    source = Source([Packet(n) for n in range(5)])
    wait_for(source, 5)
    asked_at = time.time()
    found = list(source.ahead)
    assert [packet.dts for packet, _ in found] == list(range(5))
    assert all(arrived_at <= asked_at for _, arrived_at in found)
    source.ahead.close()
    assert source.closed.wait(5)


def test_an_error_comes_after_the_packets_before_it() -> None:
    def packets() -> Iterator[Packet]:
        yield Packet(0)
        raise ValueError("broken")

    source, found = Source(packets()), list[int]()
    with pytest.raises(ValueError, match="broken"):
        found.extend(packet.dts for packet, _ in source.ahead)
    assert found == [0]
    source.ahead.close()


def test_a_silence_is_an_error_and_the_thread_closes_the_source_when_it_can() -> None:
    speak = threading.Event()

    def packets() -> Iterator[Packet]:
        speak.wait(30)
        yield Packet(0)

    source = Source(packets())
    with pytest.raises(SourceError, match=r"no data for 0\.3 s"):
        next(iter(source.ahead))
    source.ahead.close()
    assert not source.closed.is_set(), "the thread still reads from it"
    speak.set()
    assert source.closed.wait(5)


def test_no_more_is_held_than_its_bound_and_closing_ends_the_wait() -> None:
    source = Source(Packet(n, MOST_BYTES // 2) for n in itertools.count())
    wait_for(source, 3)
    assert not source.closed.wait(0.2)
    assert source.read == 3
    source.ahead.close()
    assert source.closed.wait(5)
