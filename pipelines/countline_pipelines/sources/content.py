"""The files of a source: their content as a hash, so that ids do not depend on the folder; what no demuxer reads."""

import hashlib
import mmap
import os
import re
import shlex
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from countline_common.errors import NotFoundError
from countline_pipelines.sources.spec import SourceSpec

_TAG: Final = b"19:countline.content.1"
_CHUNK_BYTES: Final = 4 * 1024 * 1024
_CONCAT_BEGIN: Final = b"ffconcat version"
_PLAYLIST_BEGINS: Final = (b"#EXTM3U", _CONCAT_BEGIN)
_URI: Final = re.compile(r'URI="([^"]*)"')
_LONGEST_PLAYLIST_BYTES: Final = 16 * 1024 * 1024
_MOST_FILES: Final = 100_000
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
            if not file.is_file() and file.exists():  # opening a pipe waits for its writer
                raise NotFoundError(f"{file} is no regular file", hint="name a file")
            with file.open("rb") as stream:
                digest.update(b"%d:" % os.fstat(stream.fileno()).st_size)
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise NotFoundError(f"{file} cannot be read: {error.strerror}", hint="correct the path") from error
    return digest.hexdigest()


def content_of(source: SourceSpec) -> str:
    """Return what names the content of a finite source: the hash of its files, or the address of a network source.

    Raises:
        NotFoundError: the file cannot be read.
    """
    return source.url if source.is_network else content_hash(*files_of(source.url))


def files_of(address: str) -> tuple[Path, ...]:
    """Return the files that a source consists of: the file, and if it is a playlist, the existing ones that it names.

    Playlists are those of HLS (`.m3u8`), which may name others, and of FFmpeg's concat. An address has no files.
    """
    if "://" in address:
        return ()
    found: dict[Path, None] = {}
    _add_files(Path(address), found)
    return tuple(found)


def _add_files(path: Path, found: dict[Path, None]) -> None:
    if path in found or len(found) > _MOST_FILES:
        return
    found[path] = None
    for name in _named_in(path):
        named = path.parent / name.removeprefix("file://")
        if named.is_file():
            _add_files(named, found)


def _named_in(path: Path) -> list[str]:
    """What a playlist names; empty for other files."""
    try:
        if not path.is_file():  # opening a pipe waits for its writer
            return []
        with path.open("rb") as stream:
            if not stream.read(len(_CONCAT_BEGIN)).startswith(_PLAYLIST_BEGINS):
                return []
            stream.seek(0)
            text = stream.read(_LONGEST_PLAYLIST_BYTES).decode(errors="surrogateescape")
    except (OSError, ValueError):
        return []  # the caller opens the file too, and reports why that fails
    if text.startswith(_CONCAT_BEGIN.decode()):
        return [_unquoted(line[5:].strip()) for line in text.splitlines() if line.startswith("file ")]
    lines = [line.strip() for line in text.splitlines()]
    attributes = [uri for line in lines if line.startswith("#EXT-X-") for uri in _URI.findall(line)]
    names = [line for line in lines if line and not line.startswith("#")]
    return [unquoted for name in (*names, *attributes) for unquoted in dict.fromkeys((name, unquote(name)))]


def _unquoted(text: str) -> str:
    try:
        return " ".join(shlex.split(text))
    except ValueError:
        return text


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
