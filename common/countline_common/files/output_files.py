"""Files that a command writes: each one appears whole or not at all, and none replaces a file that the command reads.

A regular file is written under a temporary name beside its place, synchronised to the disk, and renamed. If the command
fails or is interrupted, the old file stays and the temporary one is removed. `-`, `/dev/stdout`, pipes and devices are
written directly, because a rename would replace them by a file.
"""

import errno
import filecmp
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, cast

from countline_common.errors import AlreadyExistsError, CountlineError, InvalidInputError, ResourceExhaustedError
from countline_common.files.pipes import open_pipe

PART_PREFIX: Final = ".countline-"
PART_SUFFIX: Final = ".part"
_STANDARD_OUTPUT: Final = 1
_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/(?:self|thread-self|\d+))/fd/(\d+)")
_MOST_LINKS: Final = 40


class OutputFiles:
    """The files that one command writes. `commit` puts them in place; leaving the block by an error discards them.

    Args:
        inputs: what the command reads. Addresses, and paths that do not exist, are ignored.
    """

    def __init__(self, inputs: Iterable[Path | str | None] = ()) -> None:
        self._inputs = [Path(each) for each in inputs if each is not None]
        self._files: list[OutputFile] = []

    def open(
        self, option: str, path: Path, *, seeks: bool = False, makes_folder: bool = False, is_named: bool = True
    ) -> "OutputFile":
        """Open a file before the work begins, so that a path that cannot be written is reported at once.

        Args:
            option: what named the path on the command line, for errors.
            path: the file; `-` is standard output.
            seeks: whether the writer goes back in the file, which pipes and standard output do not allow.
            makes_folder: whether to make the folder of the file.
            is_named: whether the user wrote the name. A file whose name the command made up is not replaced by
                another one: `commit` raises AlreadyExistsError if the content differs.

        Raises:
            InvalidInputError: the path is one of the inputs or another output, or cannot be written.
        """
        self._check(option, path)
        output = OutputFile(option, path, seeks=seeks, makes_folder=makes_folder, is_named=is_named)
        self._files.append(output)
        return output

    def _check(self, option: str, path: Path) -> None:
        descriptor = _descriptor(path)
        written = path if descriptor is None else Path(f"/proc/self/fd/{descriptor}")
        refuse_input(option, path, self._inputs, written=written)
        for other in self._files:
            if _place(path) == other.place or (descriptor or -1) == other.descriptor:
                raise InvalidInputError(
                    f"{option} and {other.option} name the same file, {path}", hint="name a file for each"
                )

    @property
    def takes_standard_output(self) -> bool:
        """Whether one of the files is standard output, so that the command prints its summary elsewhere."""
        return any(output.is_standard_output for output in self._files)

    def commit(self) -> None:
        """Put every file in place.

        Raises:
            CountlineError: a file cannot be written to its end; the others are put in place.
        """
        faults: list[CountlineError] = []
        for output in self._files:
            try:
                output.commit()
            except CountlineError as error:
                faults.append(error)
        if faults:
            raise faults[0]

    def discard(self) -> None:
        """Leave what was there before `open`, except for files that were put in place."""
        for output in self._files:
            output.discard()

    def __enter__(self) -> Self:
        # `>>file` and `1<>file` write into a file of the command too.
        refuse_input("standard output", Path("-"), self._inputs, written=Path(f"/proc/self/fd/{_STANDARD_OUTPUT}"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.discard()


class OutputFile:
    """One file; made by `OutputFiles.open`."""

    def __init__(
        self, option: str, path: Path, *, seeks: bool = False, makes_folder: bool = False, is_named: bool = True
    ) -> None:
        self.option = option
        self._is_named = is_named
        self.named = path
        """As the user wrote it."""
        self.descriptor = _descriptor(path)
        """Of the open file that the path stands for; None for other paths."""
        self.place: Path | None = None
        """Where a regular file goes; None for what is written directly."""
        self.fault: CountlineError | None = None
        """Why the file cannot be written to its end."""
        self._is_open = True
        with self.errors():
            self.file = self._begin(seeks=seeks, makes_folder=makes_folder)
        self.path = Path(self.file.name) if isinstance(self.file.name, str) else path
        """What to open by name in place of `file`: the temporary file, or the device."""

    @property
    def is_standard_output(self) -> bool:
        """Whether the file is standard output."""
        return self.descriptor == _STANDARD_OUTPUT

    def _begin(self, *, seeks: bool, makes_folder: bool) -> BinaryIO:
        descriptor, place = self.descriptor, _place(self.named)
        if descriptor is None and makes_folder:
            place.parent.mkdir(parents=True, exist_ok=True)
        kind = _kind(place)
        if seeks and (descriptor is not None or stat.S_ISFIFO(kind)):
            raise InvalidInputError(
                f"{self.option} {self.named}: this kind of file cannot be written to a pipe or to standard output",
                hint=f"name a file for {self.option}",
            )
        if descriptor is not None:
            return os.fdopen(os.dup(descriptor), "wb")
        if stat.S_ISFIFO(kind):
            return open_pipe(place)
        if kind and not stat.S_ISREG(kind):
            return place.open("wb")
        if kind and not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        self.place = place
        return self._part(place, stat.S_IMODE(kind) if kind else None)

    def _part(self, place: Path, mode: int | None) -> BinaryIO:
        part = place.parent / f"{PART_PREFIX}{secrets.token_hex(6)}{PART_SUFFIX}"
        file = part.open("xb")
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        return cast("BinaryIO", file)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors of the file system into errors that name the option and the file.

        Raises:
            ResourceExhaustedError: the disk is full, or a quota is used up.
            InvalidInputError: the file cannot be written for another reason.
        """
        try:
            yield
        except OSError as error:
            raise unwritable(f"{self.option} {self.named}", error) from error

    def write(self, data: bytes) -> None:
        """Write bytes at the end of the file. After an error, writes do nothing, and `commit` raises the error."""
        if self.fault is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.fail(error)

    def fail(self, error: OSError) -> None:
        """Remember that the file cannot be written; `commit` raises the error."""
        self.fault = self.fault or unwritable(f"{self.option} {self.named}", error)

    def commit(self) -> None:
        """Write everything down to the disk, and put the file in place. The second call does nothing.

        Raises:
            AlreadyExistsError: the name was made up by the command, and another file has it.
            CountlineError: the file cannot be written to its end.
        """
        if not self._is_open:
            return
        if self.fault is not None:
            self.discard()
            raise self.fault
        try:
            with self.errors():
                self.file.flush()
                if self.place is not None:
                    os.fsync(self.file.fileno())
                self.file.close()
                if self.place is not None:
                    self._check_replaced(self.place)
                    self.path.replace(self.place)
                    sync_folder(self.place.parent)
        except BaseException:
            self.discard()
            raise
        self._is_open = False

    def _check_replaced(self, place: Path) -> None:
        if not self._is_named and place.exists() and not filecmp.cmp(self.path, place, shallow=False):
            raise AlreadyExistsError(
                f"{self.named} already exists and is another file", hint="move it away, or name another file"
            )

    def discard(self) -> None:
        """Leave what was there before. Does nothing after `commit`."""
        if self._is_open:
            self._is_open = False
            with suppress(OSError):  # a full device refuses the rest of the buffer
                self.file.close()
            if self.place is not None:
                self.path.unlink(missing_ok=True)


def refuse_input(option: str, path: Path, inputs: Iterable[Path], *, written: Path | None = None) -> None:
    """Check a file that a command is going to replace.

    Args:
        option: what named the path on the command line.
        path: the file.
        inputs: what the command reads.
        written: what `path` stands for, such as an open file; by default the path itself.

    Raises:
        InvalidInputError: the file is one of the inputs.
    """
    if any(_is_same(written or path, each) for each in inputs):
        raise InvalidInputError(
            f"cannot write {option} {path}: it is a file that this command reads",
            hint=f"name another file for {option}; nothing was changed",
        )


def unwritable(what: str, error: OSError) -> CountlineError:
    """Return the error for something that cannot be written.

    Args:
        what: names it, such as `--output gates.onnx`.
        error: what the system reported.
    """
    message = f"cannot write {what}: {error.strerror or error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return ResourceExhaustedError(message, hint="free some space, or write to another disk")
    if error.errno in {errno.EPIPE, errno.ETIMEDOUT}:
        return InvalidInputError(message, hint="start the program that reads the pipe first, and keep it reading")
    return InvalidInputError(message, hint="name a file in an existing folder that you may write to")


def _descriptor(path: Path) -> int | None:
    """Return the number of the open file that a path such as `-` or `/dev/stdout` stands for; None for other paths."""
    if str(path) == "-":
        return _STANDARD_OUTPUT
    step = os.path.abspath(path)  # noqa: PTH100  (resolve() would follow the last link, which is the one to look at)
    for _ in range(_MOST_LINKS):
        if found := _DESCRIPTOR.fullmatch(step):
            return int(found[1])
        if not os.path.islink(step):  # noqa: PTH114
            return None
        step = os.path.normpath(os.path.join(os.path.dirname(step), os.readlink(step)))  # noqa: PTH115, PTH118, PTH120
    return None


def is_standard_output(path: Path) -> bool:
    """Whether a path stands for standard output: `-`, `/dev/stdout` and the like."""
    return _descriptor(path) == _STANDARD_OUTPUT


def _place(path: Path) -> Path:
    """Return the path behind all symbolic links, so that a rename replaces the file and not a link to it."""
    return Path(os.path.realpath(path))


def _kind(place: Path) -> int:
    """Return the mode of a file, 0 if there is none.

    Raises:
        OSError: it is a folder, or cannot be looked at.
    """
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        return 0
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return mode


def _is_same(path: Path, other: Path) -> bool:
    """Whether two paths name one file: also by a link, or by another case where the file system ignores case."""
    try:
        return path.samefile(other) and not stat.S_ISCHR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def sync_folder(folder: Path) -> None:
    """Synchronise a folder, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
