"""What is downloaded, and how long a download is tried."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file and the addresses that offer it."""

    addresses: tuple[str, ...]
    sha256: str
    size_bytes: int

    @property
    def by_hand(self) -> str:
        """The hint for a file that cannot be downloaded."""
        return (
            "check the internet connection of this machine (HTTPS_PROXY sets a proxy), "
            f"or download the file by hand and compare its SHA-256: {' or '.join(self.addresses)}"
        )


@dataclass(frozen=True, slots=True)
class Patience:
    """Limits of time, in seconds."""

    without_progress_s: float = 60.0
    """Attempts end when no new byte has come for this long."""
    first_pause_s: float = 0.5
    longest_pause_s: float = 10.0
    connect_s: float = 15.0
    read_s: float = 30.0
    """A connection without a byte for this long counts as broken."""


DEFAULT_PATIENCE: Final = Patience()

Moved = Callable[[int, int], None]
"""Called with the number of bytes received and of all bytes."""
Noted = Callable[[str], None]
"""Called with a line for people about a failure that is retried."""
