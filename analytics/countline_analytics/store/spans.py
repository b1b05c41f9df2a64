"""Covered spans of one run: merged as they come in, stored in pieces of a day.

Pure. A span reaches from its first frame to its last one. The gap after it counts as processed up to a limit
(`countline_counting.coverage`).
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

DAY_US: Final = 86_400_000_000


class CoveredSpan(NamedTuple):
    """A span of coverage as ingest stores it, microseconds since the Unix epoch.

    The gap after `end_us` counts as processed up to `covered_until_us`.
    """

    start_us: int
    end_us: int
    covered_until_us: int


def merge(spans: Iterable[CoveredSpan]) -> list[CoveredSpan]:
    """Return the union of spans, in order. Spans that touch or overlap, covered gaps included, become one.

    Merging again, or in another order, changes nothing.
    """
    merged: list[CoveredSpan] = []
    for span in sorted(spans):
        if merged and span.start_us <= merged[-1].covered_until_us:
            last = merged[-1]
            merged[-1] = CoveredSpan(
                last.start_us, max(last.end_us, span.end_us), max(last.covered_until_us, span.covered_until_us)
            )
        else:
            merged.append(span)
    return merged


def cut_at_midnight(span: CoveredSpan) -> list[CoveredSpan]:
    """Return the span in pieces that each lie within one day of UTC."""
    pieces = []
    start_us = span.start_us
    while start_us // DAY_US < (span.covered_until_us - 1) // DAY_US:
        midnight_us = (start_us // DAY_US + 1) * DAY_US
        pieces.append(CoveredSpan(start_us, max(start_us, min(span.end_us, midnight_us)), midnight_us))
        start_us = midnight_us
    pieces.append(CoveredSpan(start_us, max(start_us, span.end_us), span.covered_until_us))
    return pieces
