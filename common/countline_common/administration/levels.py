"""The level of a process's log, which an administrator may change."""

import logging
import os

from countline_common.administration.current import CurrentSettings
from countline_common.administration.vocabulary import LEVELS
from countline_common.logs import LEVEL_VARIABLE


def level_base(part: str) -> dict[str, str]:
    """Return the level that the environment sets for a part; empty if it sets none."""
    level = os.environ.get(LEVEL_VARIABLE, "").lower()
    return {f"log_level.{part}": level} if level in LEVELS else {}


def follow_level(part: str, current: CurrentSettings) -> None:
    """Let changes of the level act on this process."""
    current.listen(f"log_level.{part}", _set_level)


def _set_level(level: str) -> None:
    logging.getLogger().setLevel(level.upper())
