"""The form of ids of sites, cameras, lines, zones and workers. Ids become parts of URLs and of NATS subjects."""

import re
from collections.abc import Sequence
from typing import Final

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_GEOMETRY: Final = re.compile(r"[a-z0-9_-]{1,63}")
_WORKER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")

LABEL_HINT: Final = "give 1 to 63 lower-case letters, digits and hyphens, with a letter or digit first and last"
GEOMETRY_HINT: Final = "give 1 to 63 lower-case letters, digits, hyphens and underscores"
WORKER_HINT: Final = "give 1 to 63 letters, digits, hyphens and underscores, with a letter or digit first"

SHOWN_IDS: Final = 3
"""Ids that an error shows."""


def first_of(ids: Sequence[str]) -> str:
    """Return the first ids as an error shows them, with `…` if there are more."""
    return ", ".join(ids[:SHOWN_IDS]) + (", …" if len(ids) > SHOWN_IDS else "")


def is_label(text: str) -> bool:
    """Whether a text can be the id of a site or camera."""
    return _LABEL.fullmatch(text) is not None


def is_geometry_id(text: str) -> bool:
    """Whether a text can be the id of a line or zone."""
    return _GEOMETRY.fullmatch(text) is not None


def is_worker_id(text: str) -> bool:
    """Whether a text can be the id of a worker."""
    return _WORKER.fullmatch(text) is not None
