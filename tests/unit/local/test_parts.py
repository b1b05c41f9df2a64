"""The order in which parts are started and stopped."""

import pytest

from countline_common.errors import InvalidInputError
from countline_local.supervision.part import Part, PartState, PartStatus, stages


async def nothing() -> None: ...


def part(name: str, *needs: str) -> Part:
    return Part(name=name, argv=(), env={}, address="", check=nothing, waits_for="nothing", needs=needs)


def test_a_part_comes_one_stage_after_the_last_of_its_needs() -> None:
    parts = [part("worker", "control", "triton"), part("control", "postgres"), part("triton"), part("postgres")]
    assert stages(parts) == {"postgres": 0, "triton": 0, "control": 1, "worker": 2}


def test_parts_that_need_each_other_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="a → b → a"):
        stages([part("a", "b"), part("b", "a")])


def test_a_need_that_is_no_part_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="needs 'ghost'"):
        stages([part("a", "ghost")])


def test_the_json_of_a_part_has_exactly_the_published_fields() -> None:
    status = PartStatus("nats", "127.0.0.1:4222", PartState.READY, pid=7, restarts=2, detail="for people only")
    assert status.as_json() == {
        "name": "nats", "state": "ready", "address": "127.0.0.1:4222", "pid": 7, "restarts": 2,
        "remark": "",
    }  # fmt: skip
