"""Planes for tests, each ended with its test."""

from collections.abc import Iterator

import pytest
from tests.unit.pipelines.benches import Bench, FakeTriton


@pytest.fixture
def benches() -> Iterator:
    made: list[Bench] = []

    def make(client: FakeTriton | None = None, **options: object) -> Bench:
        made.append(Bench(client or FakeTriton(), **options))
        return made[-1]

    yield make
    for bench in made:
        bench.plane.close(10)
