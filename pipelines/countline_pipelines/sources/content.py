"""The content of a file as a hash, so that ids do not depend on the folder that the file lies in."""

import hashlib
import os
from pathlib import Path
from typing import Final

from countline_common.errors import NotFoundError
from countline_common.files.text_files import LFS_POINTER, is_lfs_pointer
from countline_pipelines.sources.spec import SourceSpec

_TAG: Final = b"19:countline.content.1"
_CHUNK_BYTES: Final = 4 * 1024 * 1024


def content_hash(*files: Path) -> str:
    """Return a hash of the bytes of files, in the order given: 16 hexadecimal digits.

    The recipe is that of `countline_counting.identity`: BLAKE2b over the tag and the files as `LENGTH:BYTES`.

    Raises:
        NotFoundError: a file cannot be read.
    """
    digest = hashlib.blake2b(_TAG, digest_size=8)
    for file in files:
        try:
            with file.open("rb") as stream:
                digest.update(b"%d:" % os.fstat(stream.fileno()).st_size)
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise NotFoundError(f"{file} cannot be read: {error.strerror}", hint="correct the path") from error
    return digest.hexdigest()


def content_of(source: SourceSpec) -> str:
    """Return what names the content of a finite source: the hash of a file, or the address of a network source.

    Raises:
        NotFoundError: the file cannot be read.
    """
    return source.url if source.is_network else content_hash(Path(source.url))


def is_pointer(source: SourceSpec) -> bool:
    """Return whether a source is a file that Git LFS did not fetch, but only points to."""
    if source.is_network:
        return False
    try:
        with Path(source.url).open("rb") as stream:
            return is_lfs_pointer(stream.read(len(LFS_POINTER)))
    except (OSError, ValueError):
        return False  # the caller opens the file too, and reports why that fails
