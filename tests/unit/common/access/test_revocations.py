"""Access that ended before its token expires."""

import pytest

from countline_common.access.revocations import KEPT_S, Revocations
from countline_control.auth.base import ACCESS_LIFETIME_S


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_tokens_of_ended_sessions_and_of_earlier_revisions_are_refused() -> None:
    revocations = Revocations()
    revocations.end("vera", 3, ["s1"])
    assert revocations.refuses("vera", 2, "s9")
    assert revocations.refuses("anna", 1, "s1")
    assert not revocations.refuses("vera", 3, "s9")
    assert not revocations.refuses("anna", 1, "")
    revocations.end("vera", 2, [])  # arrives late
    assert revocations.refuses("vera", 2, "s9")


def test_an_entry_is_kept_as_long_as_a_token_lives_and_no_longer() -> None:
    clock = Clock()
    revocations = Revocations(clock)
    revocations.end("vera", 3, ["s1"])
    clock.now = ACCESS_LIFETIME_S + 10
    revocations.end("vera", 4, ["s2"])
    assert revocations.refuses("vera", 2, "s1")
    clock.now = KEPT_S + 1
    revocations.end("anna", 1, [])
    assert not revocations.refuses("anna", 5, "s1")
    assert revocations.refuses("vera", 3, "")
    clock.now += KEPT_S
    revocations.end("ben", 0, ["s3"])
    assert not revocations.refuses("vera", 1, "s2")


def test_an_end_that_comes_again_keeps_its_session_refused() -> None:
    clock = Clock()
    revocations = Revocations(clock)
    revocations.end("vera", 0, ["s1"])
    clock.now = KEPT_S - 1
    revocations.end("vera", 0, ["s1"])
    clock.now = KEPT_S + 1
    revocations.end("anna", 0, ["s2"])
    assert revocations.refuses("vera", 1, "s1")


class CountedId(str):
    """An identifier that counts its comparisons and its uses as a key."""

    __slots__ = ()
    uses = 0

    def __eq__(self, other: object) -> bool:
        CountedId.uses += 1
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        CountedId.uses += 1
        return str.__ne__(self, other)

    def __hash__(self) -> int:
        CountedId.uses += 1
        return str.__hash__(self)


@pytest.mark.parametrize("users", [100, 3000])
def test_the_work_to_forget_ends_is_in_proportion_to_their_number(users: int) -> None:
    clock = Clock()
    revocations = Revocations(clock)
    for number in range(users):
        revocations.end(CountedId(f"user {number}"), 1, [CountedId(f"session {number}")])
    clock.now = KEPT_S
    CountedId.uses = 0
    revocations.end("vera", 1, [])
    assert CountedId.uses <= 10 * users
    assert not revocations.refuses("user 1", 0, "session 1")
