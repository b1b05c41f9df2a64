"""Counts a clip whose crossings are known, with the model under test."""

from collections.abc import Callable, Sequence
from pathlib import Path

from countline_common.triton import ModelRef
from countline_models.deploy.truth import CountedLine, Truth


async def count_golden(
    triton_address: str, ref: ModelRef, clip: Path, truth: Truth, on_progress: Callable[[float], None]
) -> tuple[CountedLine, ...]:
    """Count a clip with `countline count` in a process of its own.

    Raises:
        CountlineError: the clip cannot be counted; says why.
    """
    raise NotImplementedError


def demo_golden(labels: Sequence[str], folder: Path) -> tuple[Path, Truth] | None:
    """A demo clip and its truth, for models whose labels fit it; None for others."""
    raise NotImplementedError
