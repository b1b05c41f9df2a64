"""Text files that users write: UTF-8, with or without a byte order mark, with the line ends of any system.

Windows programs save text as UTF-8 with a byte order mark, as UTF-16, or in an old code page. The mark is dropped. A
file in another encoding is refused with its line and byte, because a guess could change a name without a trace.
"""

import codecs
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from countline_common.errors import InvalidInputError, NotFoundError

LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"
"""Begin of the small file that stands for a large one in a Git repository whose LFS files were not fetched."""
LFS_HINT: Final = "fetch the file: run `git lfs pull` in its repository"
_FOREIGN_MARKS: Final = (
    # UTF-32 first: its mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_SAVE_AS_UTF8: Final = "save it as UTF-8: in Notepad with `Save as`, or with `iconv -f {} -t UTF-8 {} > NEW`"


def read_text(path: Path) -> str:
    r"""Return the whole text of a file, with `\n` at the end of each line.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it cannot be read, or is not UTF-8 text; the message names file, line and byte.
    """
    return "\n".join(read_lines(path))


def read_lines(path: Path) -> Iterator[str]:
    r"""Yield the lines of a file without their ends; `\n`, `\r\n` and `\r` end a line.

    The text of a file that ends with a line end has an empty last line, so that joined lines give the text again.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it cannot be read, or is not UTF-8 text; the message names file, line and byte.
    """
    with reading(path), path.open("rb") as file:
        line = b"\n"
        for number, line in enumerate(file, 1):
            yield from _decoded(line, number, path).replace("\r\n", "\n").removesuffix("\n").split("\r")
        if line.endswith(b"\n"):
            yield ""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors of the file system into errors that name the file.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it cannot be read.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}", hint="check the path") from error
    except OSError as error:
        hint = "name a file" if error.errno == errno.EISDIR else "check the permissions of the file"
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}", hint=hint) from error


def check_file(path: Path, hint: str = "check the path") -> None:
    """Check that a path is not a folder and exists.

    Raises:
        NotFoundError: there is no such file; the error has the hint.
        InvalidInputError: it is a folder.
    """
    if path.is_dir():
        raise InvalidInputError(f"{path} is a folder, not a file", hint="name a file")
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", hint=hint)


def is_lfs_pointer(content: bytes) -> bool:
    """Whether the content of a file is that of a Git LFS pointer."""
    return content.startswith(LFS_POINTER)


def lfs_pointer_error(path: Path | str) -> InvalidInputError:
    """Return the error for a file that is a Git LFS pointer."""
    return InvalidInputError(f"{path} is a Git LFS pointer, not the file itself", hint=LFS_HINT)


def _decoded(line: bytes, number: int, path: Path) -> str:
    if number == 1:
        if is_lfs_pointer(line):
            raise lfs_pointer_error(path)
        for mark, encoding in _FOREIGN_MARKS:
            if line.startswith(mark):
                raise _foreign(path, f"is {encoding} text, not UTF-8", encoding)
        line = line.removeprefix(codecs.BOM_UTF8)
    if (nul := line.find(0)) >= 0:
        raise _foreign(path, f"is not UTF-8 text: line {number} has a NUL at byte {nul + 1}", "UTF-16")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        what = f"line {number} has 0x{line[error.start]:02x} at byte {error.start + 1}"
        raise _foreign(path, f"is not UTF-8 text: {what}", "WINDOWS-1252") from None


def _foreign(path: Path, what: str, encoding: str) -> InvalidInputError:
    return InvalidInputError(f"{path} {what}", hint=_SAVE_AS_UTF8.format(encoding, path))
