"""The life of a second factor: enrolled, confirmed, used at logins, switched off. Pure.

Codes are time-based one-time passwords (TOTP, RFC 6238): six digits for each step of 30 s. A code is good once, as
RFC 6238 section 5.2 demands: the step of the last accepted code is kept, and codes of this step and of earlier ones are
refused.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pyotp import TOTP, random_base32

from countline_common.errors import ConflictError, FieldProblem, InvalidInputError

ISSUER: Final = "Countline"
"""What the app shows beside the user's name."""
STEP_S: Final = 30
WINDOW: Final = 1
"""Steps before and after the current one whose codes are accepted: clocks of phones differ."""
DIGITS: Final = 6
NO_STEP: Final = -1
ENROLMENT: Final = timedelta(minutes=15)
"""Time between the beginning of an enrolment and its confirmation."""
CHALLENGE: Final = timedelta(minutes=5)
"""Time between a right password and the code."""
RECOVERY_CODES: Final = 10
RECOVERY_BYTES: Final = 10
"""Random bytes of a recovery code: 16 characters of base32. So a fast hash is enough to store it."""
LONGEST_CODE: Final = 100
NONE_YET: Final = "set one up: countline auth factor enable"


class Proof(StrEnum):
    """With what a user has proved to have the second factor."""

    APP = "app"
    RECOVERY_CODE = "recovery code"


class WrongCodeError(InvalidInputError):
    """A code is wrong, or was used before."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the code {problem}", fields=(FieldProblem("code", problem),))


@dataclass(frozen=True, slots=True)
class FactorSecret:
    """What an app and the server share."""

    text: str = field(repr=False)
    """Base32; empty if the secret cannot be read, because its data key is lost."""
    since: datetime
    last_step: int = NO_STEP
    """Step of the last accepted code."""

    def used(self, code: str, now: datetime) -> "FactorSecret":
        """Return the secret after a code was accepted.

        Raises:
            WrongCodeError: the code is none of the steps around now, or was used before.
            ConflictError: the secret cannot be read.
        """
        if not self.text:
            raise ConflictError(
                "the second factor cannot be read: the key that encrypts it is lost",
                hint="use a recovery code, or ask an administrator: countline users reset-factor",
            )
        current = int(now.timestamp()) // STEP_S
        steps = range(max(0, current - WINDOW), current + WINDOW + 1)
        totp = TOTP(self.text, digits=DIGITS, interval=STEP_S)
        matching = [step for step in steps if hmac.compare_digest(totp.generate_otp(step), code)]
        if not matching:
            raise WrongCodeError("is wrong")
        fresh = [step for step in matching if step > self.last_step]
        if not fresh:
            raise WrongCodeError("was used before; wait until the app shows the next one")
        return replace(self, last_step=fresh[0])


@dataclass(frozen=True, slots=True)
class FactorState:
    """The second factor of one user."""

    active: FactorSecret | None = None
    """Asked for at each login; None for a user without a second factor."""
    enrolling: FactorSecret | None = None
    """Waits to be confirmed; then it takes the place of the active one."""
    recovery: frozenset[bytes] = frozenset()
    """Hashes of the recovery codes that were not used."""

    def begun(self, secret: str, now: datetime) -> "FactorState":
        """Return the state with a new secret that waits to be confirmed."""
        return replace(self, enrolling=FactorSecret(secret, now))

    def confirmed(self, code: str, now: datetime, recovery: Iterable[bytes]) -> "FactorState":
        """Return the state in which the new secret is the active one.

        Args:
            code: of the app.
            now: the time.
            recovery: hashes of new recovery codes.

        Raises:
            ConflictError: no secret waits to be confirmed.
            WrongCodeError: the code is wrong.
        """
        if self.enrolling is None or now - self.enrolling.since > ENROLMENT:
            raise ConflictError(
                "no second factor waits to be confirmed", hint="begin again: countline auth factor enable"
            )
        active = self.enrolling.used(_normal(code), now)
        return FactorState(replace(active, since=now), None, frozenset(recovery))

    def proved(self, code: str, now: datetime) -> "tuple[FactorState, Proof]":
        """Return the state after a code of the app or a recovery code was used, and which one it was.

        Raises:
            ConflictError: there is no second factor, or its secret cannot be read.
            WrongCodeError: the code is wrong, or was used before.
        """
        if self.active is None:
            raise ConflictError("there is no second factor", hint=NONE_YET)
        code = _normal(code)
        if len(code) == DIGITS and code.isdecimal():
            return replace(self, active=self.active.used(code, now)), Proof.APP
        if (hashed := recovery_hash(code)) not in self.recovery:
            raise WrongCodeError("is wrong")
        return replace(self, recovery=self.recovery - {hashed}), Proof.RECOVERY_CODE

    def asks_like(self, earlier: "FactorState") -> bool:
        """Whether logins ask for codes of the same secret as in an earlier state, or as little for any."""
        texts = [state.active.text if state.active is not None else None for state in (self, earlier)]
        return texts[0] == texts[1]

    def with_recovery(self, recovery: Iterable[bytes]) -> "FactorState":
        """Return the state with other recovery codes."""
        return replace(self, recovery=frozenset(recovery))


def new_secret() -> str:
    """Return a random secret of 160 bits in base32, as RFC 4226 recommends."""
    return random_base32()


def otpauth_uri(secret: str, username: str) -> str:
    """Return what an app reads from the QR code."""
    return TOTP(secret, digits=DIGITS, interval=STEP_S).provisioning_uri(name=username, issuer_name=ISSUER)


def new_recovery_codes() -> tuple[str, ...]:
    """Return random recovery codes, such as `k3xq-7mzt-…`."""
    return tuple(
        _grouped(base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode()) for _ in range(RECOVERY_CODES)
    )


def recovery_hash(code: str) -> bytes:
    """Return the hash under which a recovery code is stored."""
    return hashlib.sha256(_normal(code).encode(errors="surrogatepass")).digest()


def _grouped(text: str) -> str:
    return "-".join(text[i : i + 4] for i in range(0, len(text), 4)).lower()


def _normal(code: str) -> str:
    """Return a code without what people write between its groups; empty if it can be none."""
    if len(code) > LONGEST_CODE or not code.isascii():
        return ""
    return "".join(code.split()).replace("-", "").upper()
