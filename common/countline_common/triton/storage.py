"""Atomic changes of files and folders that survive a power cut.

Content is written beside its place, synchronised to the disk, and renamed into place. A reader sees the old content or
the new, never a part. A process that is killed leaves only hidden names, which `leftovers` finds.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from countline_common.errors import ResourceExhaustedError, UnavailableError
from countline_common.files.output_files import sync_folder

FRESH_PREFIX: Final = ".new-"
DOOMED_PREFIX: Final = ".old-"

Content = str | bytes | Path
"""Text, bytes, or a file to copy."""


@contextmanager
def repository_errors(root: Path) -> Iterator[None]:
    """Turn errors of the file system into errors that name the repository.

    Raises:
        ResourceExhaustedError: the disk is full, or a quota is used up.
        UnavailableError: the repository cannot be changed for another reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ResourceExhaustedError(
                f"no space left for models in {root}",
                hint="free some space, or delete versions that are retired",
            ) from error
        raise UnavailableError(
            f"the model repository {root} cannot be changed: {error}", hint="check its permissions and its disk"
        ) from error


def make_folder(place: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder at once; `fill` writes its content into a temporary folder with `write`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = _fresh(place.parent)
    fresh.mkdir()
    try:
        fill(fresh)
        for folder in [*(path for path in fresh.iterdir() if path.is_dir()), fresh]:
            sync_folder(folder)
        fresh.rename(place)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    sync_folder(place.parent)


def replace_file(file: Path, content: Content, beside: Path | None = None) -> None:
    """Write or replace a file at once.

    Args:
        file: in a folder that exists.
        content: its new content.
        beside: folder for the temporary file, on the same file system; by default the file's own.
    """
    fresh = _fresh(beside or file.parent)
    try:
        write(fresh, content)
        fresh.replace(file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def drop_folder(place: Path) -> None:
    """Delete a folder; it is renamed first, so that it disappears at once. A missing folder is no error."""
    doomed = place.parent / f"{DOOMED_PREFIX}{secrets.token_hex(6)}"
    try:
        place.rename(doomed)
    except FileNotFoundError:
        return
    sync_folder(place.parent)
    shutil.rmtree(doomed)


def leftovers(folder: Path) -> Iterator[Path]:
    """What killed processes left in a folder."""
    paths = folder.iterdir() if folder.is_dir() else iter(())
    return (path for path in paths if path.name.startswith((FRESH_PREFIX, DOOMED_PREFIX)))


def write(file: Path, content: Content) -> None:
    """Write a new file down to the disk."""
    with file.open("xb") as out:
        if isinstance(content, Path):
            with content.open("rb") as source:
                shutil.copyfileobj(source, out, 1 << 20)
        else:
            out.write(content.encode() if isinstance(content, str) else content)
        out.flush()
        os.fsync(out.fileno())


def _fresh(folder: Path) -> Path:
    return folder / f"{FRESH_PREFIX}{secrets.token_hex(6)}"
