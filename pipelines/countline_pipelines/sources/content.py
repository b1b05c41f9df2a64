"""The bytes of a file: its content as a hash, so that ids do not depend on the folder; what no demuxer reads."""

import hashlib
import mmap
import os
from pathlib import Path
from typing import Final

from countline_common.errors import NotFoundError
from countline_common.files.text_files import LFS_POINTER, is_lfs_pointer
from countline_pipelines.sources.spec import SourceSpec

_TAG: Final = b"19:countline.content.1"
_CHUNK_BYTES: Final = 4 * 1024 * 1024
_MOST_BYTES_AFTER: Final = 0.2
"""Share of a file that may follow its last packet: an index, attachments."""
_FIRST_BYTES: Final = {"flv": b"FLV\x01", "asf": bytes.fromhex("3026b2758e66cf11")}
"""First bytes of a file, by format: of the formats whose demuxer stops at an appended file, however small that is."""


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


def unread_end(path: Path, read_to: int, format_name: str) -> int:
    """Return where the content ends that a demuxer left unread and that may be video; 0 if there is none.

    Zeros at the end are no content: some recorders reserve the space of a file in advance.

    Args:
        path: the file.
        read_to: one past the last byte that was read.
        format_name: FFmpeg's name of the format.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is empty.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = len(content)
        while end > read_to:
            begin = max(read_to, end - _CHUNK_BYTES)
            if rest := content[begin:end].rstrip(b"\0"):
                end = begin + len(rest)
                break
            end = begin
        first = _FIRST_BYTES.get(format_name)
        is_appended = first is not None and content.find(first, read_to, end) >= 0
        return end if read_to and (is_appended or end - read_to > _MOST_BYTES_AFTER * end) else 0
