"""The unfinished download beside its target: `FILE.part`, and `FILE.part.json` with its origin."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from countline_common.errors import ConflictError
from countline_common.files.locks import try_lock


@dataclass(frozen=True, slots=True)
class PartOrigin:
    """Where the bytes of a part came from."""

    address: str = ""
    etag: str = ""

    def can_resume(self, address: str, size: int) -> bool:
        """Whether `address` can be asked for the bytes after the first `size`, of the very same file.

        A weak ETag does not identify bytes (RFC 9110, section 13.1.5), so the download begins again.
        """
        return size > 0 and self.address == address and self.etag.startswith('"')


class PartFile:
    """The bytes received so far."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._origin_path = target.with_name(f"{target.name}.part.json")

    @classmethod
    @contextmanager
    def locked(cls, target: Path) -> "Iterator[PartFile]":
        """Lock the part, so that two processes do not write into one file.

        Raises:
            ConflictError: another process holds the lock.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        part = cls(target)
        descriptor = os.open(part.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not try_lock(descriptor):
                raise ConflictError(f"another process is downloading {target}", hint="wait until it ends")
            yield part
        finally:
            if part.path.exists() and part.size == 0:
                part.discard()
            os.close(descriptor)

    @property
    def size(self) -> int:
        """Number of bytes received."""
        return self.path.stat().st_size

    def origin(self) -> PartOrigin:
        """The origin of the bytes; an empty one if it cannot be read."""
        try:
            return PartOrigin(**json.loads(self._origin_path.read_text()))
        except (OSError, ValueError, TypeError):
            return PartOrigin()

    def begin(self, origin: PartOrigin) -> None:
        """Drop all bytes and record the origin of the next ones."""
        self.path.open("wb").close()
        self._origin_path.write_text(json.dumps(asdict(origin)))

    def discard(self) -> None:
        """Delete both files."""
        self.path.unlink(missing_ok=True)
        self._origin_path.unlink(missing_ok=True)

    def move_to(self, target: Path) -> None:
        """Rename the part to its target, once its bytes are on the disk."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        self._origin_path.unlink(missing_ok=True)
