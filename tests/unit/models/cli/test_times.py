"""Times in the tables of `countline models` name their zone."""

import time

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from countline_models.cli.service import local_time


@pytest.mark.parametrize(
    ("zone", "shown"), [("Europe/Berlin", "2026-07-01 14:00 CEST"), ("UTC", "2026-07-01 12:00 UTC")]
)
def test_a_time_names_its_zone(zone: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert local_time(Timestamp(seconds=1_782_907_200)) == shown
    finally:
        monkeypatch.undo()
        time.tzset()
