"""A hash of a file's content, so that ids do not depend on where the file lies."""

import hashlib
from pathlib import Path
from typing import Final

from countline_common.errors import NotFoundError

_CHUNK_BYTES: Final = 4 * 1024 * 1024


def content_hash(*files: Path) -> str:
    """16 hexadecimal digits: a hash of the content of files, in the order given.

    Raises:
        NotFoundError: a file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        try:
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise NotFoundError(f"{file} cannot be read: {error.strerror}", hint="correct the path") from error
    return digest.hexdigest()
