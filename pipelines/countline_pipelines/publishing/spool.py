"""Records on disk until JetStream has acknowledged them.

A folder of append-only segments. A record counts as spooled when `append` returns: written and fsynced, with the folder
entry of its segment. A killed process leaves at most one torn record at the end of the last segment; opening the spool
cuts it off. Records are numbered for ever; the name of a segment is the number of its first record.

    segment:  magic, then records
    record:   length of body (u32), CRC-32 of body (u32), body
    body:     length of subject (u16), subject, payload

`acked` holds the number up to which everything is acknowledged. It is written without fsync: losing it makes records be
sent again, byte for byte, which counts nothing twice.

Assumes one process a folder (it holds a lock) on a local file system. Methods may be called from any thread.
"""

import errno
import fcntl
import os
import struct
import threading
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from countline_common.errors import AlreadyExistsError, InternalError, ResourceExhaustedError
from countline_common.logs import get_logger

MAGIC: Final = b"CLSPOOL1"
_HEAD: Final = struct.Struct("<II")
_SUBJECT: Final = struct.Struct("<H")
_LONGEST_RECORD: Final = 16 * 1024 * 1024
MIB: Final = 1024 * 1024
_OUT_OF_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SpooledRecord:
    """One record as it lies in the spool."""

    number: int
    subject: str
    payload: bytes


class SpoolFullError(ResourceExhaustedError):
    """The spool has reached its bound, or its disk is full; nothing of the batch was written."""


class SpoolBrokenError(InternalError):
    """The disk refuses to be written or read."""


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int
    next: int
    """One more than the number of its last record."""
    size_bytes: int
    offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    """Where each record begins: 8 bytes of memory a record."""


class Spool:
    """A bounded, durable queue of records.

    Args:
        folder: made if missing; one process at a time.
        max_bytes: bound of all segments together.
        segment_bytes: size at which the next segment begins.

    Raises:
        AlreadyExistsError: another process holds the folder.
        SpoolBrokenError: it cannot be read.
    """

    def __init__(self, folder: Path, *, max_bytes: int = 1024 * MIB, segment_bytes: int = 4 * MIB) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = min(segment_bytes, max(1, max_bytes // 4))
        self._guard = threading.RLock()
        self._writing = threading.Lock()
        self._file: int | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _hold(folder)
        self._segments = _recover_all(folder)
        self._acked = max(_read_acked(folder), self._segments[0].first - 1 if self._segments else -1)
        self._acked_beyond: set[int] = set()
        self._next = max(self._segments[-1].next if self._segments else 0, self._acked + 1)
        self._drop_acked_segments()

    @property
    def used_bytes(self) -> int:
        """Bytes on disk, those of acknowledged records in segments that are still in use included."""
        with self._guard:
            return sum(segment.size_bytes for segment in self._segments)

    @property
    def max_bytes(self) -> int:
        """The bound."""
        return self._max_bytes

    @property
    def waiting(self) -> int:
        """Records that are not acknowledged."""
        with self._guard:
            return self._next - 1 - self._acked - len(self._acked_beyond)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of records that are not acknowledged (those before the first of them not counted)."""
        with self._guard:
            return sum(s.size_bytes - _before(s, self._acked + 1) for s in self._segments if s.next > self._acked + 1)

    @property
    def next_number(self) -> int:
        """The number that the next record will get."""
        return self._next

    @property
    def first_waiting(self) -> int:
        """Number of the first record that is not acknowledged (or of the next record to come)."""
        return self._acked + 1

    def append(self, records: Sequence[tuple[str, bytes]]) -> int:
        """Write records and fsync them together.

        Args:
            records: (subject, payload) in order.

        Returns:
            The number of the first of them.

        Raises:
            SpoolFullError: there is no room; nothing was written.
            SpoolBrokenError: the disk fails; nothing counts as written.
        """
        blobs = [_encode(subject, payload) for subject, payload in records]
        total = sum(map(len, blobs))
        with self._writing:
            with self._guard:
                if self.used_bytes + total > self._max_bytes:
                    raise _full(self._folder, f"{self.used_bytes} of {self._max_bytes} bytes are used")
                segment = self._writable()
            self._write(segment, b"".join(blobs))  # without the guard: readers need not wait for the disk
            with self._guard:
                first = self._next
                for blob in blobs:
                    segment.offsets.append(segment.size_bytes)
                    segment.size_bytes += len(blob)
                segment.next = self._next = first + len(blobs)
                return first

    def _writable(self) -> _Segment:
        current = self._segments[-1] if self._segments and self._file is not None else None
        if current is not None and current.size_bytes < self._segment_bytes:
            return current
        self._seal()
        path = self._folder / f"{self._next:016x}.seg"
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.write(self._file, MAGIC)
            _sync_folder(self._folder)
        except OSError as error:
            self._seal()
            path.unlink(missing_ok=True)
            raise _translated(self._folder, error) from error
        self._segments.append(_Segment(path, self._next, self._next, len(MAGIC)))
        return self._segments[-1]

    def _write(self, segment: _Segment, data: bytes) -> None:
        assert self._file is not None
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], segment.size_bytes + written)
            os.fdatasync(self._file)
        except OSError as error:
            # What was half written must not be taken for a record later; the next append overwrites it at worst.
            with suppress(OSError):
                os.ftruncate(self._file, segment.size_bytes)
            raise _translated(self._folder, error) from error

    def _seal(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def read(self, number: int, most: int) -> list[SpooledRecord]:
        """Records from a number on, at most `most`; an empty list when there is none yet.

        Raises:
            SpoolBrokenError: what was written cannot be read back.
        """
        with self._guard:
            segment = next((s for s in self._segments if s.first <= number < s.next), None)
            if segment is None:
                return []
            span = range(number - segment.first, min(segment.next, number + most) - segment.first)
            begin = segment.offsets[span.start]
            end = segment.offsets[span.stop] if span.stop < len(segment.offsets) else segment.size_bytes
            data = _pread(segment.path, begin, end - begin)
        return [
            SpooledRecord(number + index, subject, payload) for index, (subject, payload) in enumerate(_bodies(data))
        ]

    def ack(self, number: int) -> None:
        """Forget a record: JetStream has it. Twice does no harm."""
        with self._guard:
            if number <= self._acked:
                return
            self._acked_beyond.add(number)
            while self._acked + 1 in self._acked_beyond:
                self._acked += 1
                self._acked_beyond.discard(self._acked)
            self._drop_acked_segments()

    def _drop_acked_segments(self) -> None:
        while self._segments and self._segments[0].next <= self._acked + 1:
            segment = self._segments[0]
            is_open = len(self._segments) == 1 and self._file is not None
            if is_open and not self._may_seal(segment):
                return
            self._save_acked()
            segment.path.unlink(missing_ok=True)
            del self._segments[0]

    def _may_seal(self, segment: _Segment) -> bool:
        """Seal the open segment, unless it is small and soon written to again, or is being written to."""
        if segment.size_bytes < self._segment_bytes // 4 or not self._writing.acquire(blocking=False):
            return False
        self._seal()
        self._writing.release()
        return True

    def _save_acked(self) -> None:
        temporary = self._folder / "acked.new"
        try:
            temporary.write_text(str(self._acked))
            temporary.replace(self._folder / "acked")
        except OSError as error:  # a full disk: records are sent once more after a restart
            _log.warning("spool.acked_not_saved", error=str(error))

    def checkpoint(self) -> None:
        """Note on disk how far records are acknowledged, so that a restart sends less again."""
        with self._guard:
            self._save_acked()

    def close(self) -> None:
        """Close the files and give the folder back."""
        with self._guard:
            self._seal()
            self._save_acked()
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _encode(subject: str, payload: bytes) -> bytes:
    name = subject.encode()
    body = _SUBJECT.pack(len(name)) + name + payload
    if len(body) > _LONGEST_RECORD:
        raise InternalError(f"a record of {len(body)} bytes is longer than the spool takes")
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _bodies(data: bytes) -> Iterator[tuple[str, bytes]]:
    for body in _intact(data):
        (length,) = _SUBJECT.unpack_from(body)
        yield body[_SUBJECT.size : _SUBJECT.size + length].decode(), body[_SUBJECT.size + length :]


def _intact(data: bytes) -> Iterator[bytes]:
    """Bodies of records up to the first that is torn."""
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, offset)
        body = data[offset + _HEAD.size : offset + _HEAD.size + length]
        if not _SUBJECT.size <= length <= _LONGEST_RECORD or len(body) < length or zlib.crc32(body) != checksum:
            return
        yield body
        offset += _HEAD.size + length


def _recover_all(folder: Path) -> list[_Segment]:
    segments = [_recover(path) for path in sorted(folder.glob("*.seg"))]
    for segment in segments:
        if segment.next == segment.first:  # its name would be that of the next segment
            segment.path.unlink()
    return [segment for segment in segments if segment.next > segment.first]


def _recover(path: Path) -> _Segment:
    """Read a segment and cut off what is torn; that is kept beside it, since it may be more than one record."""
    first = int(path.stem, 16)
    data = _pread(path, 0, path.stat().st_size)
    segment = _Segment(path, first, first, len(MAGIC))
    for body in _intact(data[len(MAGIC) :]) if data.startswith(MAGIC) else ():
        segment.offsets.append(segment.size_bytes)
        segment.size_bytes += _HEAD.size + len(body)
        segment.next += 1
    if segment.size_bytes < len(data):
        torn = data[segment.size_bytes :]
        _log.warning("spool.torn_tail", segment=path.name, bytes=len(torn), kept_as=f"{path.stem}.torn")
        path.with_suffix(".torn").write_bytes(torn)
    with path.open("r+b") as file:
        file.truncate(segment.size_bytes)
        file.seek(0)
        file.write(MAGIC)
        os.fsync(file.fileno())
    return segment


def _before(segment: _Segment, number: int) -> int:
    index = number - segment.first
    return segment.offsets[index] if index > 0 else 0


def _pread(path: Path, offset: int, length: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)
    except OSError as error:
        raise SpoolBrokenError(f"spool segment {path} cannot be read: {error.strerror}", hint="see the disk") from error


def _hold(folder: Path) -> int:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise AlreadyExistsError(
            f"the spool {folder} is in use by another worker",
            hint="give each worker a spool of its own (COUNTLINE_SPOOL)",
        ) from error
    return lock


def _read_acked(folder: Path) -> int:
    try:
        return int((folder / "acked").read_text())
    except (OSError, ValueError):
        return -1


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _translated(folder: Path, error: OSError) -> ResourceExhaustedError | SpoolBrokenError:
    if error.errno in _OUT_OF_SPACE:
        return _full(folder, "its disk is full")
    return SpoolBrokenError(f"the spool {folder} cannot be written: {error.strerror}", hint="see the disk")


def _full(folder: Path, why: str) -> SpoolFullError:
    return SpoolFullError(
        f"the spool {folder} is full: {why}",
        hint="see that NATS is reachable and ingest runs, so that it empties; or free space on its disk",
    )
