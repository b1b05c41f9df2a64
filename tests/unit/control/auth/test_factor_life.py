"""The life of a second factor: examples, and random sequences of events against a model."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from pyotp import TOTP

from countline_common.errors import ConflictError, CountlineError
from countline_control.auth.factor import domain
from countline_control.auth.factor.domain import FactorSecret, FactorState, Proof, WrongCodeError

START = datetime(2027, 1, 15, 8, 0, 10, tzinfo=UTC)
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
"""Of the test vectors of RFC 6238: the ASCII text `12345678901234567890`."""


def code(secret: str, at: datetime, steps: int = 0) -> str:
    return TOTP(secret).at(int(at.timestamp()) + domain.STEP_S * steps)


def enabled(secret: str = SECRET, at: datetime = START, *recovery: str) -> FactorState:
    return FactorState(FactorSecret(secret, at), None, frozenset(map(domain.recovery_hash, recovery)))


@pytest.mark.parametrize(("seconds", "digits"), [(59, "287082"), (1111111109, "081804"), (2000000000, "279037")])
def test_codes_are_those_of_rfc_6238(seconds: int, digits: str) -> None:
    """Appendix B of the RFC, whose codes have eight digits: the last six."""
    enabled().proved(digits, datetime.fromtimestamp(seconds, UTC))


@pytest.mark.parametrize("steps", [-2, -1, 0, 1, 2])
def test_a_code_is_good_one_step_around_now(steps: int) -> None:
    if abs(steps) <= domain.WINDOW:
        assert enabled().proved(code(SECRET, START, steps), START)[1] is Proof.APP
    else:
        with pytest.raises(WrongCodeError, match="is wrong"):
            enabled().proved(code(SECRET, START, steps), START)


def test_a_code_is_good_once_and_ends_earlier_ones() -> None:
    state, _ = enabled().proved(code(SECRET, START, 1), START)
    for steps in (1, 0, -1):
        with pytest.raises(WrongCodeError, match="used before"):
            state.proved(code(SECRET, START, steps), START)
    later = START + timedelta(seconds=2 * domain.STEP_S)
    state.proved(code(SECRET, later), later)


def test_the_code_that_confirmed_a_secret_opens_no_login() -> None:
    state = FactorState().begun(SECRET, START).confirmed(code(SECRET, START), START, ())
    with pytest.raises(WrongCodeError, match="used before"):
        state.proved(code(SECRET, START), START)


@pytest.mark.parametrize("written", ["{}", " {} ", "{:.3} {}", "\t{}\n"])
def test_people_write_codes_with_spaces(written: str) -> None:
    digits = code(SECRET, START)
    text = f"{digits[:3]} {digits[3:]}" if ":" in written else written.format(digits)
    enabled().proved(text, START)


@pytest.mark.parametrize(
    "wrong", ["", " ", "12345", "1234567", "١٢٣٤٥٦", "x" * 200, "\ud800", "\x00", "abcdef", "-1-2"]
)
def test_what_is_no_code_is_wrong(wrong: str) -> None:
    with pytest.raises(WrongCodeError):
        enabled(SECRET, START, "aaaa-bbbb").proved(wrong, START)


def test_recovery_codes_are_good_once_each_and_written_in_any_way() -> None:
    codes = domain.new_recovery_codes()
    assert len(set(codes)) == domain.RECOVERY_CODES
    state = enabled(SECRET, START, *codes)
    for i, each in enumerate(codes):
        written = each if i % 2 else each.upper().replace("-", " ")
        state, proof = state.proved(written, START)
        assert (proof, len(state.recovery)) == (Proof.RECOVERY_CODE, domain.RECOVERY_CODES - i - 1)
        with pytest.raises(WrongCodeError):
            state.proved(each, START)


def test_a_secret_whose_key_is_lost_leaves_the_recovery_codes() -> None:
    state = enabled("", START, "aaaa-bbbb")
    with pytest.raises(ConflictError, match="cannot be read"):
        state.proved("123456", START)
    assert state.proved("aaaa-bbbb", START)[1] is Proof.RECOVERY_CODE


def test_an_enrolment_that_is_not_confirmed_ends() -> None:
    state = FactorState().begun(SECRET, START)
    late = START + domain.ENROLMENT + timedelta(seconds=1)
    with pytest.raises(ConflictError):
        state.confirmed(code(SECRET, late), late, ())


def test_no_secret_stands_in_a_text() -> None:
    assert SECRET not in f"{enabled()!r} {enabled().active}"


class FactorLife(RuleBasedStateMachine):
    """Compares the state with a model that remembers all used codes, by value and not by step."""

    secrets = Bundle("secrets")
    recoveries = Bundle("recoveries")
    texts: ClassVar[list[str]] = [SECRET, SECRET[::-1], "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"]

    def __init__(self) -> None:
        super().__init__()
        self.now, self.state = START, FactorState()
        self.active: str | None = None
        self.enrolling: tuple[str, datetime] | None = None
        self.last_used: datetime | None = None
        """Beginning of the step of the last code that was accepted."""
        self.recovery: set[str] = set()
        self.made = 0

    def step_at(self, steps: int) -> datetime:
        whole = int(self.now.timestamp()) // 30 + steps
        return datetime.fromtimestamp(whole * 30, UTC)

    def new_codes(self) -> list[str]:
        self.made += 2
        return [f"code-{self.made:04d}", f"code-{self.made + 1:04d}"]

    @rule(seconds=st.integers(0, 100))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def wait_long(self) -> None:
        self.now += domain.ENROLMENT

    @rule(target=secrets, which=st.sampled_from(range(3)))
    def begin(self, which: int) -> str:
        text = self.texts[which]
        self.state, self.enrolling = self.state.begun(text, self.now), (text, self.now)
        return text

    @rule(target=recoveries, secret=secrets, steps=st.integers(-2, 2))
    def confirm(self, secret: str, steps: int) -> list[str]:
        codes, at = self.new_codes(), self.step_at(steps)
        right = (
            self.enrolling is not None
            and self.enrolling[0] == secret
            and self.now - self.enrolling[1] <= domain.ENROLMENT
            and abs(steps) <= 1
        )
        try:
            state = self.state.confirmed(code(secret, at), self.now, map(domain.recovery_hash, codes))
        except CountlineError:
            assert not right
            return []
        assert right
        self.state, self.active, self.enrolling, self.last_used = state, secret, None, at
        self.recovery = set(codes)
        return codes

    @rule(secret=secrets, steps=st.integers(-2, 2))
    def log_in(self, secret: str, steps: int) -> None:
        at = self.step_at(steps)
        right = self.active == secret and abs(steps) <= 1 and (self.last_used is None or at > self.last_used)
        try:
            self.state, proof = self.state.proved(code(secret, at), self.now)
        except CountlineError:
            assert not right
        else:
            assert right
            assert proof is Proof.APP
            self.last_used = at

    @rule(codes=recoveries)
    def recover(self, codes: list[str]) -> None:
        for each in codes:
            right = self.active is not None and each in self.recovery
            try:
                self.state, proof = self.state.proved(each, self.now)
            except CountlineError:
                assert not right
            else:
                assert right
                assert proof is Proof.RECOVERY_CODE
                self.recovery.discard(each)

    @precondition(lambda self: self.active is not None)
    @rule(target=recoveries)
    def renew(self) -> list[str]:
        codes = self.new_codes()
        self.state = self.state.with_recovery(map(domain.recovery_hash, codes))
        self.recovery = set(codes)
        return codes

    @rule(_=consumes(secrets))
    def switch_off(self, _: str) -> None:
        self.state, self.active, self.enrolling, self.recovery = FactorState(), None, None, set()

    @invariant()
    def is_what_the_model_says(self) -> None:
        active = self.state.active.text if self.state.active is not None else None
        assert (active, len(self.state.recovery)) == (self.active, len(self.recovery))


FactorLife.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestFactorLife = FactorLife.TestCase
