"""Threads that compute hashes of passwords."""

import asyncio
import os
from unittest import mock

import pytest
from argon2 import PasswordHasher

from countline_common.errors import ResourceExhaustedError
from countline_control.auth import passwords
from countline_control.auth.passwords import Passwords


class _Reporting(PasswordHasher):
    """Returns how the thread runs that should compute a hash."""

    def hash(self, *_: object, **__: object) -> str:
        return f"{len(os.sched_getaffinity(0))} of the processors"


async def test_a_flood_of_logins_leaves_all_processors_but_one_to_other_calls() -> None:
    """argon2's four threads for a hash kept both processors busy: other calls took 209 ms at the 95th percentile."""
    before = os.sched_getaffinity(0)
    assert await Passwords(_Reporting()).hash("") == "1 of the processors"
    assert os.sched_getaffinity(0) == before


async def test_passwords_work_where_a_sandbox_forbids_threads_to_choose_a_processor() -> None:
    with mock.patch("os.sched_setaffinity", side_effect=PermissionError(1, "Operation not permitted")):
        checked = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        assert await checked.matches(await checked.hash("seven green umbrellas"), "seven green umbrellas")


async def test_who_cannot_be_answered_in_time_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, callers got a turn after 3 s and no answer within the 5 s of a login: 504 in place of 429."""
    monkeypatch.setattr(passwords, "LONGEST_WAIT_S", 600.0)
    lanes = Passwords()
    async with lanes.turn(known=False):
        monkeypatch.setattr(passwords, "TURN_WITHIN_S", 0.01)
        await asyncio.sleep(0.02)
    async with lanes.turn(known=False):  # a free lane takes a caller however long the last turn was
        with pytest.raises(ResourceExhaustedError):
            async with asyncio.timeout(30), lanes.turn(known=False):
                pass
