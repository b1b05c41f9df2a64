"""Records on disk until JetStream has acknowledged them, in one SQLite database.

When `append` returns, the records are committed to SQLite's write-ahead log with fsync (`synchronous=FULL`). A killed
process or a power failure loses at most the batch whose `append` has not returned.

`ack` marks a record in memory. The next `append` or `delete_acked` deletes the marked records. If the process is killed
before that, they are sent again, byte for byte, and count once.

Policy when the spool is full: `append` refuses the whole batch (see writer.py). A full disk also has no room for
SQLite to delete records. Records are still read and published then, and once all are acknowledged, the database is
replaced by an empty one.

One process holds a folder, on a local file system. Any thread may call the methods.
docs/performance.md has the figures.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Self

from countline_common.logs import get_logger
from countline_pipelines.publishing.spool_database import (
    Row,
    SpoolBrokenError,
    SpoolFullError,
    checksum_of,
    open_database,
    remove_database,
    sizes,
    translated,
)

MIB: Final = 1024 * 1024
SHRINK_ABOVE_BYTES: Final = 4 * MIB
"""SQLite gives no pages back to the disk: an empty spool whose database is larger than this starts a new one."""
MOST_DELETED: Final = 1000
"""Records deleted in one transaction at most, so that a commit stays short."""
_DELETE: Final = "DELETE FROM records WHERE number = ? RETURNING length(payload)"
_READ: Final = "SELECT number, subject, payload FROM records WHERE number >= ? ORDER BY number LIMIT ?"
_NUMBERS: Final = "SELECT number FROM records WHERE number < ?"
_log = get_logger(__name__)

__all__ = ["MIB", "Spool", "SpoolBrokenError", "SpoolFullError", "SpooledRecord"]


@dataclass(frozen=True, slots=True)
class SpooledRecord:
    """One record of the spool."""

    number: int
    subject: str
    payload: bytes


class Spool:
    """A bounded, durable queue of records. Numbers grow; they are unique within one process.

    Args:
        folder: created if it is missing; one process at a time.
        max_bytes: bound of the database. The write-ahead log needs up to about 4 MiB more.

    Raises:
        AlreadyExistsError: another process holds the folder.
        SpoolFullError: there is no room to create the database.
        SpoolBrokenError: the disk cannot be written or read.
    """

    def __init__(self, folder: Path, *, max_bytes: int = 1024 * MIB) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._disk = threading.Lock()
        """One thread at a time uses the database."""
        self._guard = threading.Lock()
        """Guards the numbers below; never held during work on the disk, so the event loop never waits for it."""
        self._acked: set[int] = set()
        self._database: sqlite3.Connection | None = open_database(folder, max_bytes)
        last, stored, stored_bytes = self._database.execute(
            "SELECT coalesce(max(number), -1), count(*), coalesce(sum(length(payload)), 0) FROM records"
        ).fetchone()
        self._next: int = last + 1
        self._stored: int = stored
        self._stored_bytes: int = stored_bytes
        self._used_bytes, self._file_bytes = sizes(self._database)

    @property
    def used_bytes(self) -> int:
        """Bytes of the database that hold records, including acknowledged ones that are not deleted yet."""
        return self._used_bytes

    @property
    def max_bytes(self) -> int:
        """Bound of `used_bytes`."""
        return self._max_bytes

    @property
    def waiting(self) -> int:
        """Number of records that are not acknowledged."""
        with self._guard:
            return max(0, self._stored - len(self._acked))

    @property
    def waiting_bytes(self) -> int:
        """Payload bytes of these records, including acknowledged ones that are not deleted yet; 0 if none waits."""
        with self._guard:
            return self._stored_bytes if self._stored > len(self._acked) else 0

    def append(self, records: Sequence[tuple[str, bytes]]) -> int:
        """Write records and fsync them together.

        Args:
            records: (subject, payload) in order.

        Returns:
            The number of the first of them.

        Raises:
            SpoolFullError: there is no room; nothing was written.
            SpoolBrokenError: the disk fails; nothing was written.
        """
        with self._disk:
            first = self._next
            self._commit(
                [
                    (first + index, subject, payload, checksum_of(first + index, subject, payload))
                    for index, (subject, payload) in enumerate(records)
                ]
            )
            self._next = first + len(records)
            return first

    def _commit(self, rows: Sequence[Row]) -> None:
        """Insert rows and delete acknowledged ones, in one transaction."""
        with self._guard:
            acked = list(islice(self._acked, MOST_DELETED))
        deleted: list[tuple[int]] = []
        with self._transaction() as database:
            for number in acked:
                deleted += database.execute(_DELETE, (number,)).fetchall()
            database.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
        with self._guard:
            self._acked.difference_update(acked)
            self._stored += len(rows) - len(deleted)
            self._stored_bytes += sum(len(payload) for _, _, payload, _ in rows) - sum(size for (size,) in deleted)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        database = self._opened()
        try:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise translated(self._folder, error) from error
        self._used_bytes, self._file_bytes = sizes(database)

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = open_database(self._folder, self._max_bytes)
        return self._database

    def read(self, number: int, most: int) -> list[SpooledRecord]:
        """Return at most `most` records in order, from `number` on; an empty list if there are none yet.

        Raises:
            SpoolBrokenError: the disk cannot be read.
        """
        with self._disk:
            try:
                rows = self._opened().execute(_READ, (number, most)).fetchall()
            except sqlite3.Error as error:
                raise translated(self._folder, error) from error
        return [SpooledRecord(*row) for row in rows]

    def ack(self, number: int) -> None:
        """Mark a record that JetStream has acknowledged, a second time without effect; never waits for the disk."""
        with self._guard:
            self._acked.add(number)

    @property
    def next_number(self) -> int:
        """The number that the next record gets; all committed records have smaller ones."""
        return self._next

    def is_acknowledged(self, end: int) -> bool:
        """Whether JetStream has acknowledged every record with a number below `end`.

        Raises:
            SpoolFullError, SpoolBrokenError: the database cannot be opened or read.
        """
        with self._disk:
            return self._is_all_acked(end)

    def delete_acked(self) -> None:
        """Delete acknowledged records, so that a restart does not send them again. Logs a failure of the disk."""
        try:
            while self._acked:
                with self._disk:
                    self._commit([])
        except (SpoolFullError, SpoolBrokenError) as error:
            _log.warning("spool.not_deleted", error=error.message)
            self._replace_if_empty()
        if self._file_bytes > SHRINK_ABOVE_BYTES:
            self._replace_if_empty()

    def _replace_if_empty(self) -> None:
        with self._disk:
            try:
                if self.waiting > 0 or not self._is_all_acked(self._next):
                    return
            except (SpoolFullError, SpoolBrokenError):
                return
            with self._guard:
                self._acked.clear()
                self._stored = self._stored_bytes = 0
            self._close()
            remove_database(self._folder)
            with suppress(SpoolFullError, SpoolBrokenError):  # the next `append` tries again and raises
                self._used_bytes, self._file_bytes = sizes(self._opened())

    def _is_all_acked(self, end: int) -> bool:
        """Whether the records below `end` are acknowledged. The counters do not show it: an `ack` may be repeated."""
        try:
            numbers = self._opened().execute(_NUMBERS, (end,)).fetchall()
        except sqlite3.Error as error:
            raise translated(self._folder, error) from error
        with self._guard:
            return all(number in self._acked for (number,) in numbers)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def close(self) -> None:
        """Delete acknowledged records and release the folder."""
        self.delete_acked()
        with self._disk:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
