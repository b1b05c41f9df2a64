"""Access that ended before its token expires."""

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
