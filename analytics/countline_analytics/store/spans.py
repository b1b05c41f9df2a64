"""Spans of coverage of one run: merged as they come in, kept in pieces of a day.

Pure. A span reaches from the first frame to the last one, and the gap after that counts as processed for a while.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

DAY_US: Final = 86_400_000_000


class Span(NamedTuple):
    """Microseconds since the Unix epoch; the gap after `end_us` counts as processed up to `covered_until_us`."""

    start_us: int
    end_us: int
    covered_until_us: int


def merge(spans: Iterable[Span]) -> list[Span]:
    """The union of spans, in order: those that touch or overlap, their covered gaps included, become one.

    Merging again, or in another order, changes nothing.
    """
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start_us <= merged[-1].covered_until_us:
            last = merged[-1]
            merged[-1] = Span(
                last.start_us, max(last.end_us, span.end_us), max(last.covered_until_us, span.covered_until_us)
            )
        else:
            merged.append(span)
    return merged


def cut_at_midnight(span: Span) -> list[Span]:
    """The span in pieces that each lie within one day of UTC."""
    pieces = []
    start_us = span.start_us
    while start_us // DAY_US < (span.covered_until_us - 1) // DAY_US:
        midnight_us = (start_us // DAY_US + 1) * DAY_US
        pieces.append(Span(start_us, max(start_us, min(span.end_us, midnight_us)), midnight_us))
        start_us = midnight_us
    pieces.append(Span(start_us, max(start_us, span.end_us), span.covered_until_us))
    return pieces
