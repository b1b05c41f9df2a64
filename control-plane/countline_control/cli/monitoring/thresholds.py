"""Limits of checks, as options give them: a number, or a share such as `10%`. Pure."""

from dataclasses import dataclass
from typing import Self

from countline_common.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class CountLimit:
    """A number of things, or a share of all of them."""

    number: float
    is_percent: bool = False

    @classmethod
    def parse(cls, option: str, text: str) -> Self:
        """Read `5` or `10%`.

        Raises:
            InvalidInputError: the text is neither.
        """
        digits = text.strip().removesuffix("%")
        is_percent = text.strip().endswith("%")
        if not digits.isascii() or not digits.isdigit() or (is_percent and int(digits) > 100):
            raise InvalidInputError(
                f"{option}: {text!r} is no limit", hint="give a number such as 5, or a share such as 10%"
            )
        return cls(int(digits), is_percent)

    def of(self, total: int) -> float:
        """The limit as a number of things. A share of nothing is one thing, so that nothing is never too much."""
        number = self.number / 100 * total if self.is_percent else self.number
        return max(number, 1.0) if self.is_percent else number


def check_order(warning: float | None, critical: float | None, *, lower: bool = False) -> None:
    """Check that a warning comes before what is critical.

    Raises:
        InvalidInputError: it does not.
    """
    if warning is None or critical is None:
        return
    if warning < critical if lower else warning > critical:
        side = "below" if lower else "above"
        raise InvalidInputError(
            f"the limit for a warning ({warning:g}) lies {side} the one for critical ({critical:g})",
            hint="exchange --warning and --critical",
        )
