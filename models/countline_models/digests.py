"""SHA-256 of files."""

import hashlib
from pathlib import Path


def file_digest(file: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
