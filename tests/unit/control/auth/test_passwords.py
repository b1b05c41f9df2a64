"""Threads that compute hashes of passwords."""

import os
from unittest import mock

from argon2 import PasswordHasher

from countline_control.auth.passwords import NICENESS, Passwords


class _Reporting(PasswordHasher):
    """Returns how the thread runs that should compute a hash."""

    def hash(self, *_: object, **__: object) -> str:
        return f"{os.getpriority(os.PRIO_PROCESS, 0)} {len(os.sched_getaffinity(0))}"


async def test_a_flood_of_logins_leaves_all_processors_but_one_to_other_calls() -> None:
    """argon2's four threads for a hash kept both processors busy: other calls took 209 ms at the 95th percentile."""
    before = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    assert await Passwords(_Reporting()).hash("") == f"{min(before[0] + NICENESS, 19)} 1"
    assert (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)) == before


async def test_passwords_work_where_a_sandbox_forbids_threads_to_change_their_priority() -> None:
    with mock.patch("os.setpriority", side_effect=PermissionError(1, "Operation not permitted")):
        passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        assert await passwords.matches(await passwords.hash("seven green umbrellas"), "seven green umbrellas")
